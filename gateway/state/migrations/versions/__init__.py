"""One module a step, oldest first: `0001_first_shape`, `0002_masked_queries`, `0003_path_exceptions`.

A published step is never edited.
"""

__all__: list[str] = []
