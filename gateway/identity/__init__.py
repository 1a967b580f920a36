"""Who: factors, sessions, lockout."""
