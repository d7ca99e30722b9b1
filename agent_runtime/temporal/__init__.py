"""The driver that runs agents as Temporal workflows: what is on its way survives any process."""
