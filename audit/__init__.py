"""Remembers: append-only, provable, searchable.

`event` and `ecs` say what a record is. `journal` keeps records (`segment` is the format of its files, `durable` the
one place that writes files durably), `anonymous` bounds what strangers can make it keep. `merkle`, `checkpoint` and
`log` are the transparency log over all journals, `daemon` the auditor that grows it, `verify` proves both, `receipt`
is what a revocation hands out, `search` answers questions. Subpackages add the index, Elasticsearch, detection and
reports; other packages import first-level modules only.
"""
