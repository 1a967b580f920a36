"""Limits of the gateway that a busy machine reaches without any fault, widened for tests that are not about them.

A worker that had no processor for a second is killed as one that hangs; a steward whose store waited five seconds for
the disk is taken for dead. Tests of these limits set their own.
"""

from __future__ import annotations

from typing import Final

PATIENT: Final = {"SEKISHO_TIMEOUTS__ACK": "5", "SEKISHO_TIMEOUTS__STALE_REFUSE": "20"}
EXACT: Final = {"SEKISHO_TIMEOUTS__STALE_REFUSE": "5"}
"""The default, for tests of what happens then."""
