"""What must survive: faults, storms, kills."""
