"""The way to Elasticsearch, without loss and duplicates.

Begin with `index`, what is asked of a cluster and how it can fail, then `shipper`, which carries every document there
exactly once: from `source` (the journals), through `delivery` (several batches at once, judged item by item by
`outcome`, as large as `pace` finds good), with its place in `cursor`. `client` keeps `index` over the official client,
`connection` is how its requests travel, `keys` where key files may come later. `shipping` is the auditor's task around
it, `checkpoints` the queue of signed tree heads.

`setup` runs an administrator's errand in a process of its own, as `gateway.admin.elastic` asks: `bootstrap` prepares a
cluster with what `template` says, `check` looks whether it stands as needed.

`search` answers questions from the copy, as far as the cluster can decide them (`question`), for `asking`, one search
in a process of its own.

`reconciling`, another such process, compares the copy with the journals: `reconcile` holds what `copy` reads of the one
against what `derivation` makes of the other, after a first look (`survey`, by `fingerprint`); `origin` finds the record
that a stored document says it comes from, `kept` judges stored checkpoints, `differences` is what was found.
"""

__all__: list[str] = []
