"""The tour: the promises shown one after the other on the real parts, unattended."""
