"""Pure values and decisions: no I/O, clock, dice, logger, environment or library."""
