"""How agents behave and what they cost, measured with a scripted model."""
