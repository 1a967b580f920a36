"""One module a step, oldest first by number; a published step is never edited."""
