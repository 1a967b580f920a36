"""What differs between two settings, and whom each difference concerns. Pure.

Workers are replaced by every reload: they hold the certificates. The others only where a table that they use changed.
What names the installation, and where its files are, cannot change under running processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from gateway.settings import Settings

WORKERS: Final = "workers"
USES: Final[Mapping[str, frozenset[str]]] = {
    WORKERS: frozenset({"portal", "paths", "listeners", "limits", "timeouts", "upstreams", "journal", "workers"}),
    "steward": frozenset({
        "paths", "journal", "timeouts.journal_stall", "timeouts.ack", "sessions", "sign_in", "workers.count",
        "limits.user_rate", "limits.session_rate", "limits.address_rate", "limits.shared_names",
    }),
    "auditor": frozenset({"paths", "journal", "elasticsearch", "witness", "outlets", "retention"}),
    "control": frozenset({
        "portal", "paths", "workers.count", "timeouts.journal_stall", "sessions", "sign_in", "journal", "retention",
        "mdm", "elasticsearch", "witness", "outlets", "alerts", "timeouts.drain", "listeners.public.client_ca",
        "listeners.public.client_crls", "listeners.public.crl_entries",
    }),
}  # fmt: skip
"""The tables of `sekisho.toml` that each process reads, or single settings and tables within one."""

PERMANENT: Final = frozenset({"portal.host", "portal.rp_id"})
RESTART: Final = (
    "paths.", "journal.segment_", "journal.disk_alarm_percent", "journal.reserve_", "timeouts.journal_stall",
)  # fmt: skip
"""What the supervisor itself works with, or every process at once."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that differs. Texts as people read them, "" = not set."""

    key: str  # dotted
    before: str
    after: str
    concerns: tuple[str, ...]  # WORKERS or names of processes


def differences(before: Settings, after: Settings) -> tuple[Difference, ...]:
    """Return every setting that differs, by key."""
    old, new = dict(_flat(before, "")), dict(_flat(after, ""))
    return tuple(
        Difference(key, old.get(key, ""), new.get(key, ""), concerned(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def concerned(key: str) -> tuple[str, ...]:
    """Return whom a setting concerns."""
    parts = key.split(".")
    above = {".".join(parts[:size]) for size in range(1, len(parts) + 1)}
    return tuple(name for name, used in USES.items() if above & used)


def by_content(settings: Settings) -> frozenset[str]:
    """Return who besides the workers holds what files say, and is replaced by every reload: the files may be others."""
    public = settings.listeners.public
    return frozenset({"control"} if public is not None and public.client_crls else ())


def obstacle(difference: Difference) -> str:
    """Return why a difference cannot be taken up while running: what would be expected instead; "" = it can."""
    key = difference.key
    if key in PERMANENT:
        return f"{difference.before} (permanent)"
    fewer = key == "workers.count" and int(difference.after) < int(difference.before)
    if fewer or key.startswith(RESTART):
        return f"{difference.before} (a change needs a restart)"
    return ""


def _flat(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(each) for each in value)
    if isinstance(value, BaseModel):  # one of several: certificates of further hosts
        return " ".join(f"{name}={_shown(getattr(value, name))}" for name in type(value).model_fields)
    return str(value) if not isinstance(value, Path) else value.as_posix()
