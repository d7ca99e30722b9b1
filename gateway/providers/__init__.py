"""The providers' dialects: one file each, four functions and one Capabilities value."""
