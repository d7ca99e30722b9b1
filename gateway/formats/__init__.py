"""Wire shapes as typed structs, without behaviour."""
