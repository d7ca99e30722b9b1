"""What an agent is made of, whether that makes sense, and its fingerprint."""
