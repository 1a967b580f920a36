"""One module a noun, by what it is about.

Oneself: `account`. People: `users`, `sessions`, `devices` (`revocation_lists`), `locks`. What is protected: `apps`,
`policy`, `approvals`.
The trail: `events`, `reveals`, `anomalies`, `alerts`, `retention`, `bundles`, `elastic`, `dashboards`; offline:
`verifying` of all of it, `proofs` of receipts, `record_proofs`, `checkpoints`, `keys`; `witness` who vouches for it.
The machine: `installation`, `doctor`, `reload`, `clock`. Trials: `demo`, `tour`, `mdm_sim`. `cli.main` imports them
all; each imports what is heavy inside its commands.
"""

__all__: list[str] = []
