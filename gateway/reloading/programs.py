"""Which processes there are, and with what each is started: arguments, descriptors, the settings in force.

The settings travel as text in a sealed memory file (memfd_create(2)), not as the file that was read: a process that
dies comes back with the settings that were accepted, whatever the file says by then.
"""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.settings_parts.outlets import Outlets
from gateway.settings_parts.services import Elasticsearch, Witness
from gateway.supervision import child
from gateway.supervision.process import Spec

Extra = Callable[[], tuple[Mapping[str, str], tuple[int, ...]]]

STEWARD: Final = "steward"
AUDITOR: Final = "auditor"
CONTROL: Final = "control"
SINGLE: Final = (STEWARD, AUDITOR, CONTROL)  # in the order in which they start


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Accepted:
    """Settings in force, with the text they were read from and the memory file that holds it.

    The file is closed with the last specification that would start a process from it.
    """

    config: Path
    text: str
    settings: Settings
    memory: int  # descriptor


def accept(config: Path, text: str, settings: Settings) -> Accepted:
    """Keep `text` where every process can read it and none can write. Raises OSError."""
    memory = os.memfd_create("sekisho.toml", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rest = text.encode()
    while rest:
        rest = rest[os.write(memory, rest) :]
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    accepted = Accepted(config, text, settings, memory)
    weakref.finalize(accepted, os.close, memory)
    return accepted


class Programs:
    """How each process is started."""

    def __init__(self, for_steward: Extra) -> None:
        """`for_steward` gives what only that one gets."""
        self._for_steward = for_steward

    def single(self, name: str, accepted: Accepted) -> Spec:
        """Return how one of `SINGLE` is started."""
        if name == AUDITOR:
            return Spec(name, "audit.daemon", _auditing(accepted.settings), lambda: ({}, ()))
        extra = _with_settings(accepted, self._for_steward if name == STEWARD else lambda: ({}, ()))
        return Spec(name, f"gateway.{name}", ("--config", str(accepted.config)), extra)

    def worker(self, slot: int, place: int, accepted: Accepted, listeners: Mapping[str, socket.socket]) -> Spec:
        """Return how the worker of `slot` is started; `place` is free among the journals of that slot."""
        args = ("--slot", str(slot), "--place", str(place), "--config", str(accepted.config))
        numbers = {name: sock.fileno() for name, sock in listeners.items()}
        value = ",".join(f"{name}:{number}" for name, number in numbers.items())
        extra = _with_settings(accepted, lambda: ({child.LISTEN: value}, tuple(numbers.values())))
        return Spec(f"worker-{slot}", "gateway.worker", args, extra, place)


def _with_settings(accepted: Accepted, extra: Extra) -> Extra:
    def all_of_it() -> tuple[Mapping[str, str], tuple[int, ...]]:
        variables, fds = extra()
        return {**variables, child.SETTINGS: str(accepted.memory)}, (*fds, accepted.memory)

    return all_of_it


def _auditing(settings: Settings) -> tuple[str, ...]:
    paths = settings.paths
    return (
        "--journal", str(paths.journal), "--log", str(paths.log), "--key", str(paths.keys / "checkpoint.key"),
        "--reserve-percent", str(settings.journal.reserve_last_percent),
        "--reserve-bytes", str(settings.journal.reserve(Writes.LAST).last.most),
        "--state", str(settings.auditor_state), *_shipping(settings.elasticsearch), *_witnessing(settings.witness),
        *(f"--retain={name}={age:.0f}" for name, age in settings.retention.seconds().items()),
        *_outlets(settings.outlets),
    )  # fmt: skip


def _shipping(cluster: Elasticsearch | None) -> tuple[str, ...]:
    """Return the auditor's arguments for Elasticsearch: key files, never keys."""
    if cluster is None:
        return ()
    ca = () if cluster.ca is None else ("--elastic-ca", str(cluster.ca))
    return (
        "--elastic-url", str(cluster.url), *ca, "--elastic-namespace", cluster.namespace,
        "--elastic-write-key", str(cluster.write_key_file), "--elastic-read-key", str(cluster.read_key_file),
    )  # fmt: skip


def _witnessing(witness: Witness | None) -> tuple[str, ...]:
    """Return the auditor's arguments for the witnesses: addresses and public keys."""
    if witness is None:
        return ()
    ca = () if witness.ca is None else ("--witness-ca", str(witness.ca))
    return (*(word for place in witness.places for word in ("--witness", *place.split(" "))), *ca)


def _outlets(outlets: Outlets | None) -> tuple[str, ...]:
    """Return the auditor's arguments for the other ways out."""
    found: dict[str, object] = {}
    if outlets is not None and (file := outlets.ndjson) is not None:
        found |= {"--ndjson": file.path, "--ndjson-bytes": file.rotate_bytes, "--ndjson-kept": file.kept}
    if outlets is not None and (receiver := outlets.syslog) is not None:
        found |= {
            "--syslog-host": receiver.host, "--syslog-port": receiver.port, "--syslog-ca": receiver.ca,
            "--syslog-name": receiver.server_name or receiver.host,
        }  # fmt: skip
        if receiver.client_certificate is not None:
            found |= {"--syslog-certificate": receiver.client_certificate, "--syslog-key": receiver.client_key}
    return tuple(str(part) for pair in found.items() for part in pair)
