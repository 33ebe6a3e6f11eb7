"""Parameter-free functions that are not objectives."""
