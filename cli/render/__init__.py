"""Output for people and programs: values in, text or a table out.

`cells` makes text from outside harmless and comes first everywhere; `table` is for people, `documents` for programs.
`trail`, `states`, `upstreams`, `revocation_lists` and `witnesses` put records and states in words. `cli.call` chooses
between them by `--output`.
"""

__all__: list[str] = []
