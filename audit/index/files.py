"""The embedded index on disk: Parquet files of events, and one manifest that says which of them count.

The manifest is the truth: a file that it does not name is the rest of a crash and is removed by the writer. It also
holds how far each journal was taken in and which requests were open there, so that whoever reads the index reads the
tail from exactly there. Everything can be deleted at any time: the writer builds it anew from the journals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable
from audit.index.gone import Gone
from audit.segment import Link

MANIFEST: Final = "manifest.json"
VERSION: Final = 2
COLUMNS: Final[Mapping[str, str]] = {
    name: name.removeprefix("sekisho.").replace(".", "_")
    for name in (
        "event.action", "event.dataset", "event.kind", "event.outcome", "user.id", "user.name", "user.target.id",
        "user.target.name", "device.id", "source.ip", "url.domain", "url.path", "http.request.id",
        "http.request.method", "http.response.status_code", "rule.id", "rule.version", "sekisho.app.id",
        "sekisho.app.sensitivity", "sekisho.app_session.id", "sekisho.area", "sekisho.case.id", "sekisho.by",
        "sekisho.admin.command", "sekisho.finding.kind", "sekisho.lock.id", "sekisho.outcome", "sekisho.policy.hash",
        "sekisho.reason", "sekisho.session.id", "sekisho.verdict", "sekisho.worker", "sekisho.zone",
    )
}  # fmt: skip
"""The fields that people ask for by value, each with a column of its own. All hold one keyword, number or address."""
FOLDED: Final = "folded"
"""The column with an event's text as searches compare it (`audit.query.folded`), where `lower` would not do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Files in order of making, with their first and last `@timestamp`; links and open requests at their end."""

    files: tuple[tuple[str, str, str], ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    open_requests: Mapping[str, Any] = field(default_factory=dict)
    made: int = 0  # files ever made, for their names
    gone: Gone = field(default_factory=dict)  # places whose rows were dropped


def load(folder: Path) -> Manifest:
    """Return what counts, an empty manifest where there is none; raises OSError, ValueError for a foreign file."""
    try:
        saved = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return Manifest()
    if saved.get("v") != VERSION:
        raise ValueError(f"{MANIFEST}: got version {saved.get('v')}, expected {VERSION}")
    links = {name: Link(epoch, seq, bytes.fromhex(entry)) for name, (epoch, seq, entry) in saved["links"].items()}
    files = tuple((name, first, last) for name, first, last in saved["files"])
    lost = {
        name: tuple(((start[0], start[1]), (end[0], end[1])) for start, end in intervals)
        for name, intervals in saved["gone"].items()
    }
    return Manifest(files, links, saved["open"], saved["made"], lost)


def save(folder: Path, manifest: Manifest) -> None:
    """Make the manifest durable; raises OSError."""
    links = {name: [link.epoch, link.seq, link.entry.hex()] for name, link in manifest.links.items()}
    body = {
        "v": VERSION, "files": manifest.files, "links": links, "open": manifest.open_requests, "made": manifest.made,
        "gone": manifest.gone,
    }  # fmt: skip
    durable.replace(folder / MANIFEST, orjson.dumps(body), 0o600)
