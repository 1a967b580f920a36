"""One module a step, oldest first by number: `0001_first_shape`. A published step is never edited."""

__all__: list[str] = []
