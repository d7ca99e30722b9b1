"""A scripted provider simulator for demos, tests and benchmarks."""
