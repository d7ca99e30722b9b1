"""The configuration: parse, compile, validate, swap whole."""
