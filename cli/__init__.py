"""Talks to people, and has no logic of its own: a command asks the admin API and shows the answer.

Begin with `main` (nouns and verbs; `__main__` is the same program), then any module of `commands`. `command` turns a
function into a command, `call` is one run of it: what it works with is `place` (which installation), `client` (the
admin API), `language` (Japanese or English) and `render` (tables and data).

- What people type: `spoken` and `usage` say in their language what is wrong, `once` refuses an option given twice,
  `moments` reads times, `files` what they name, `confirm` asks before something is changed.
- Proofs: `trail_files` are what they are made from, `last_verified` is what an operator remembers of the last time,
  `cosignatures` are what witnesses vouch for, `bundle_files` take in the evidence that the server makes.
- What they get: `receipts`, `private_file` (tokens, letters), `failure` and `exit_codes`.
- Trials: `city` is the sample city of `sekisho demo`, `tour` the promises shown on it by `sekisho tour`.
"""

__all__: list[str] = []
