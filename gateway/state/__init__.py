"""What is known, and how workers learn it.

`records` are the values; begin there, then with the way of a change: a process sends a command (`steward_client`, in
frames of `wire`), `command_server` takes it, `administrator` commits it, tells the workers by `broadcast` and answers
when all have applied it. `feed` is the worker's end: it keeps the `view` that every request is judged by.

- Commands: `command` (what one is), `arguments` (checked one by one), `commands` (all by name), carried out in
  `ops_people`, `ops_sessions`, `ops_things`, `ops_locks`, `ops_crl`; `endings` is the one way in which a session ends,
  `sweep` what time ends, by the `clock` that believes no leap.
- The steward's memory: `loading` fills it at the start, `tables` is what a snapshot is made of, `changes` what a
  command changed, `fencing` has a worker killed that does not keep up.
- Revoked certificates: `serials` packs the numbers on revocation lists, for the store and for the view.
- Rates that hold over all workers: `shares` (one rate, its parts, its division by demand), `leases` (the steward's book
  of names that are asked for a lot), `leasing` (when it is shared out and told).
- The store: `schema` and `migrations` (made and upgraded by `migration`), `store` (one writer, many readers),
  `transaction` and its thread `writer`, `codec` (records ↔ rows) with `sealing` (secrets), `dialect` (databases).
"""

__all__: list[str] = []
