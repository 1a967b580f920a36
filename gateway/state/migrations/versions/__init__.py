"""One module a step, oldest first; a published step is never edited.

`0001_first_shape`, `0002_masked_queries`, `0003_path_exceptions`, `0004_body_limits`, `0005_upstreams`,
`0006_revocation_lists`.
"""

__all__: list[str] = []
