"""What callers of the runtime see: requests, results and errors."""
