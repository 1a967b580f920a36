"""The history of the store's shape, run by Alembic: `env` is its entry, `versions` holds the steps.

`gateway.state.migration` runs them, for a new store and for an older one.
"""

__all__: list[str] = []
