"""The data plane's door: connections, routes, limits, health, drain."""
