"""The admin API: roles, approvals, searches, revocations. Served to the command line by `gateway.control`.

Begin with `endpoints`, the whole surface in one table, and `guard`, the one way into every command: who, may they,
written down, then done. `server` joins the two, with `protection` around every answer; `endpoint` is what a command
is, `problem` how one fails, `expectations` what an argument should have been, `trail` its records (`asked`: of which
arguments), `operator_use` its token's idleness.

- Operators: `sign_in`, `approvals` of what others proposed (`approval_request`: the two-person rule).
- People and access: `users`, `users_import` (rows by `csv_import`, paper by `letters`), `sessions` (whom they hit:
  `targets`), `locks`, `devices` with `revocation_lists` (numbers as people type them: `certificate_numbers`); `people`
  finds who is meant.
- What is protected and how: `apps` (how their servers stand: `upstream_states`), `policy_versions`,
  `policy_questions`.
- Looking: `events`, `bundles` (evidence to take away), `anomalies`, `status`, `alerts`, `elastic` (`reconcile`
  compares it with the journals) and `outlets`, the other ways out; `reveals` by a value that records hold as a digest,
  which `unlinking` keeps out of every other answer. Long searches run in a child process: `searching` here,
  `search_child` there.
- The machine: `clock` takes an operator's word on a leap, `reload` has the settings or the program taken up.
- Keeping: `retention` of records, and what a legal hold keeps longer; `keys` that sign the log.
"""

__all__: list[str] = []
