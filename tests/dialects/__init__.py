"""The four dialects over one conversation and one turn."""
