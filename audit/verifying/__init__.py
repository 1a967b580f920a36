"""How the trail is verified: pieces that several processes check alone, and what joins them.

A piece is checked from what it claims about its start: `chains` follows the records of one segment, `bundles` hashes a
few entry bundles. The joining process holds a few pieces at a time: `followers` joins each writer's segments,
`matching` finds each leaf of the tree among the writers' next records, `tiles` makes the levels above and the roots,
and says which file differs; `leftovers` looks at partial tiles that lie about. `standing` finds where each writer's
journal stands at a size of the log. `pieces` runs the pieces ahead of need, with what `hashing` chooses to hash with:
plainly, or many records side by side (`lines` over `sha256`, both compiled).
"""

__all__: list[str] = []
