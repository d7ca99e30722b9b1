"""Tools: how functions become them, how their arguments are checked, and who may use them when."""
