"""Findings and cases.

`detection` is the auditor's task; `engine` runs the detectors over the journals and records each finding once.
Detectors are `refusals`, `sessions` and, of the trail itself, `trail`; what they give is a `signal`. `audit.cases`
joins signals for a person.
"""

__all__: list[str] = []
