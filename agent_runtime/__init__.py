"""The thin durable agent runtime on top of the client."""
