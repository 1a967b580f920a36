"""What the exit status says (ux §2.2). Scripts rely on the numbers: they are never reused."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses of `sekisho`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    SIGN_IN_NEEDED = 4
    NOT_ALLOWED = 5
    CONFLICT = 6
    INTEGRITY = 7  # a proof, signature or chain does not hold
    FINDINGS = 8  # with --exit-code: what was looked for exists
    UNREACHABLE = 9  # server, steward or index does not answer
    INTERRUPTED = 130  # Ctrl-C
