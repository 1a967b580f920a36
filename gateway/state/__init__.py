"""What is known, and how workers learn it."""
