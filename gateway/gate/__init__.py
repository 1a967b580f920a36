"""Pure: what happens to one request."""
