"""From one version of the supervisor to the next by exec(2): same process id, same sockets, same children.

What the next program needs travels as JSON in a memory file; its descriptors lose close-on-exec for that moment. The
children notice nothing: their parent is the process, which goes on. Signals are held back until the next program has
its handlers, so that none of them ends it half-way.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Never

from gateway.reloading.crew import Crew
from gateway.reloading.programs import Accepted, accept
from gateway.settings import Settings, SettingsFaults
from gateway.supervision.process import Supervised
from gateway.supervision.slots import Slots, open_slots, sockets_passed

HELD_BACK: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MODULE: Final = "gateway.supervisor"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a supervisor begins with: the settings in force, the sockets, the steward's channel.

    `handed` is what a former program of this process left: its children and the reload that it was asked for.
    """

    accepted: Accepted
    slots: Slots
    channel: tuple[socket.socket, socket.socket]  # ours, the steward's
    handed: Mapping[str, Any] = field(default_factory=dict)


def fresh(config: Path) -> Standing:
    """Bind the listeners that `config` names. Raises SettingsFaults, OSError when an address is taken, ValueError."""
    text = config.read_text(encoding="utf-8")
    settings = Settings.parse(text, config)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    slots = open_slots(settings, passed=sockets_passed(os.environ, os.getpid()))
    return Standing(accept(config, text, settings), slots, (ours, theirs))


def taken_over(number: int) -> Standing:
    """Take over what the former program wrote to the descriptor `number`. Raises OSError, SettingsFaults."""
    with os.fdopen(number, "rb") as file:
        file.seek(0)
        handed: dict[str, Any] = json.load(file)
    for each in _descriptors(handed):
        os.set_inheritable(each, False)
    config = Path(handed["config"])
    text = Path(f"/proc/self/fd/{handed['memory']}").read_text(encoding="utf-8")
    os.close(handed["memory"])
    try:
        settings = Settings.parse(text, config)
    except SettingsFaults:  # this version does not know a setting any more; the file was judged by it just now
        settings = Settings.load(config)
    known: dict[int, socket.socket] = {}

    def opened(number: int) -> socket.socket:
        if number not in known:  # slots may share one socket
            known[number] = socket.socket(fileno=number)
        return known[number]

    slots = Slots(
        tuple({name: opened(each) for name, each in slot.items()} for slot in handed["by_slot"]),
        handed["addresses"], handed["asked"], {name: opened(each) for name, each in handed["passed"].items()},
    )  # fmt: skip
    ours, theirs = (opened(each) for each in handed["channel"])
    ours.setblocking(False)
    return Standing(accept(config, text, settings), slots, (ours, theirs), handed)


def become(standing: Standing, crew: Crew, request: Mapping[str, Any], asker: socket.socket | None) -> Never:
    """Become the program that is installed now, which carries out `request` and answers `asker`. Raises OSError."""
    slots, accepted = standing.slots, standing.accepted
    left: dict[str, Any] = {
        "config": str(accepted.config), "memory": accepted.memory,
        "by_slot": [{name: sock.fileno() for name, sock in slot.items()} for slot in slots.by_slot],
        "addresses": slots.addresses, "asked": slots.asked,
        "passed": {name: sock.fileno() for name, sock in slots.passed.items()},
        "channel": [each.fileno() for each in standing.channel],
        "processes": [_process(each) for each in crew.current.values()],
        "retiring": [_process(each) for each in crew.retiring],
        "request": dict(request), "asker": None if asker is None else asker.fileno(),
    }  # fmt: skip
    memory = os.memfd_create("sekisho-handover", os.MFD_CLOEXEC)
    os.write(memory, json.dumps(left).encode())
    opened = {memory, *_descriptors(left)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        for each in opened:
            os.set_inheritable(each, True)
        config = ("--config", str(accepted.config), "--handover", str(memory))
        os.execv(sys.executable, [sys.executable, "-m", _MODULE, *config])  # noqa: S606 (our own module, no shell)
    finally:  # reached only where exec(2) failed
        for each in opened:
            os.set_inheritable(each, False)
        os.close(memory)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _process(process: Supervised) -> dict[str, Any]:
    return {
        "name": process.spec.name, "pid": process.pid, "place": process.spec.place, "restarts": process.restarts,
    }  # fmt: skip


def _descriptors(left: Mapping[str, Any]) -> Iterator[int]:
    yield left["memory"]
    yield from left["channel"]
    for slot in (*left["by_slot"], left["passed"]):
        yield from slot.values()
    if left["asker"] is not None:
        yield left["asker"]
