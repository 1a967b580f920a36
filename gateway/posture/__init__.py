"""Which device, in which state."""
