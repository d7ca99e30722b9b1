"""What several gateway processes share, in Redis."""
