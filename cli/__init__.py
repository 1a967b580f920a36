"""Package map: see the first-level modules."""
