"""The one client through which programs talk to the gateway."""
