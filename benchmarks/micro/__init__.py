"""Microbenchmarks, one for each station and each trick."""
