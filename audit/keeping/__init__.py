"""Keeps sealed segments: compressed when they are covered, only their entries at the end of their retention.

`spans` tells what time a segment is of, `compressing` and `expiring` are the two steps with their order of writes,
`keeper` is the auditor's task that takes them. How long is `audit.retention`, what must stay `audit.holds`, what is
there tells `audit.stock`; whether what is gone was deleted on record is `audit.expired`.
"""

__all__: list[str] = []
