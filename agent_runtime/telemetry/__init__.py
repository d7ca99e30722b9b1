"""What operators see of runs: metrics, spans, one line for each run."""
