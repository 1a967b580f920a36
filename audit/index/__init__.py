"""The embedded index: columns beside the journals, so that searches need not read them all.

`indexing` is the auditor's task; `writer` builds micro-batches of `rows`, which reach DuckDB as `lines`; `files` says
which of them count, `gone` what they hold no more. `query` is one search in a process of its own, started for the admin
API; `reading` answers it from the files and the journals' tail, after `choice` has said what columns can decide.
"""

__all__: list[str] = []
