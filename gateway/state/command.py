"""What a command to the steward is, for those who send one and for those who carry it out."""

from __future__ import annotations


class CommandRefused(Exception):
    """The steward understood and said no. `code` is stable; `message` is for logs and operators (no secrets)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class StewardUnavailable(Exception):
    """No answer from the steward: not reachable, connection lost, or too late. The outcome may be unknown."""
