"""What requests share: quota, health, pins, in memory or in a server."""
