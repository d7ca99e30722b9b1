"""The desk: does what the loop asks for, for whichever driver."""
