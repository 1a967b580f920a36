"""The way to Elasticsearch, without loss and duplicates.

Begin with `index`, what is asked of a cluster and how it can fail, then `shipper`, which carries every document there
exactly once: from `source` (the journals), by `outcome` (item by item), with its place in `cursor`. `client` keeps
`index` over the official client, `keys` over key files that may come later. `shipping` is the auditor's task around it,
`checkpoints` the queue of signed tree heads.

`setup` runs an administrator's errand in a process of its own, as `gateway.admin.elastic` asks: `bootstrap` prepares a
cluster with what `template` says, `check` looks whether it stands as needed.

`reconciling`, another such process, compares the copy with the journals: `reconcile` holds what `copy` reads of the one
against what `derivation` makes of the other, after a first look (`survey`, by `fingerprint`); `kept` judges stored
checkpoints, `differences` is what was found.
"""

__all__: list[str] = []
