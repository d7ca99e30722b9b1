"""The ways out: the gateway, its budgets, MCP servers."""
