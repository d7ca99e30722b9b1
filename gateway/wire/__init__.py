"""The callers' dialects: bytes to domain values and back."""
