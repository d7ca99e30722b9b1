"""Domain tests: values in, values out."""
