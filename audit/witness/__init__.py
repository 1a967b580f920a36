"""Witnesses: a second party that remembers the log's largest tree and signs nothing that contradicts it.

`protocol` is C2SP tlog-witness without I/O: the request, and what a witness answers to it. `memory` is what a witness
remembers and the order of its writes, `server` its HTTP process. On the log's side `client` asks one witness once, and
`submitting` is the auditor's task that asks all of them about each checkpoint. What both sides keep for people to read
is `audit.witnesses`.
"""

__all__: list[str] = []
