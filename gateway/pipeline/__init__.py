"""The path of one request: exchange, admission, attempts, relay, settlement."""
