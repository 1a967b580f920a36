"""Remembers: append-only, provable, searchable.

Begin with `event` and `ecs`, what a record says, and `journal`, what keeps it. `numbers` knows 個人番号 and card
numbers, which no record holds.

- Keeping: `journal` is what a process writes to, `journal_thread` makes its file calls, `segment_writer` its files,
  `segment` is their format, `durable` the one place that writes files durably, `room` what a filling disk leaves to
  whom. `anonymous` bounds what strangers can make us write. `stored` opens a segment in whichever form it is kept:
  plain, compressed (`seekable`), or only its `entries` at the end of its retention. `reader` reads a journal back, for
  everyone below. `retention` says how long records are kept, `holds` what must stay longer, `keeping`
  compresses and deletes accordingly, `stock` says what is there.
- Proving: `merkle`, `note`, `checkpoint` and `log` are the transparency log over all journals, `auditor` grows it,
  `verify` proves both (in pieces, by `verifying`), `expired` that what is gone was deleted on record; `receipt` is
  what a revocation hands out. One record's proof is made by `proof`, from what `tiles` reads, `places` finds and
  `originals` has word for word; `issued` are the checkpoints of the past. `bundle` is evidence to hand over.
- Vouching: the signing key changes on record: `rotation` says how keys follow each other, `key_requests` asks for it,
  `rotating` does it, `lost_key` goes on visibly without the old one. `witness` is the second party that cosigns
  checkpoints, `witnesses` what both sides keep about that.
- Finding: `query` is what one may ask; `search` answers it over the journals (`scan`: lines, newest first);
  `completion` brings the end of a request together with its decision; `documents` are what searchable copies hold:
  `index` (embedded; `indexed` proves it), `elastic` (Elasticsearch, with `dead_letters` for what it refused,
  `dashboards` and `kibana` to look at it),
  `outlets` (a file for agents, syslog).
  `detect` finds anomalies, `cases` joins them.
- Running: `daemon` is the auditor's process, `busy` says when it hashes many records side by side, `beside` starts all
  of these as its tasks; `errand` is one job in
  a process of its own; `weight` lets all of them go last.

Other packages import first-level modules only.
"""

__all__: list[str] = []
