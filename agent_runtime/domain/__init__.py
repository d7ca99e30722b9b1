"""The agent loop and its values: pure, no I/O, no clock, no library."""
