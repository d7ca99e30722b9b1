"""The only outbound sockets of the data plane."""
