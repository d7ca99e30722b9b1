"""The driver that runs agents in this process."""
