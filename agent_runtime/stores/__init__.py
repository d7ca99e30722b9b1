"""What outlives a step of a run: events, conversations, runs, memories; in memory, SQLite or Redis."""
