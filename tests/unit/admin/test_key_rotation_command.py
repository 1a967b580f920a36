"""`audit.keys.rotate` of the admin API with the auditor's own half beside it: asked, done, answered; or clearly not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from audit.auditor import Auditor
from audit.checkpoint import generate, read_verifier
from audit.journal import Journal
from audit.key_requests import Request, ask, asked
from audit.rotating import Rotating, settle
from audit.rotation import links, succession
from gateway.admin import keys
from gateway.admin.endpoint import Call, Change, Reply
from gateway.admin.problem import Problem
from gateway.keyfiles import create_keys
from tests.support.trails import Trail, decision


@pytest.fixture
def place(tmp_path: Path) -> SimpleNamespace:
    """What control has of an installation's settings, with the keys that `init` makes."""
    (tmp_path / "keys").mkdir()
    create_keys(tmp_path / "keys", "portal.example.jp/log")
    paths = SimpleNamespace(keys=tmp_path / "keys", log=tmp_path / "log", journal=tmp_path / "journal")
    return SimpleNamespace(paths=paths, auditor_state=tmp_path / "state" / "auditor")


def call(place: SimpleNamespace, **given: Any) -> Call[Change]:
    caller = SimpleNamespace(user=SimpleNamespace(login="ciso"))
    made = Call(SimpleNamespace(settings=place), caller, Change(reason="定期の交換", **given), "RQ-1", 0.0)  # type: ignore[arg-type]
    return cast("Call[Change]", made)


def beside(place: SimpleNamespace, act: Callable[[], Any]) -> Any:
    """Run `act` while an auditor looks for requests."""
    key = place.paths.keys / "checkpoint.key"
    Trail(place.paths.journal, place.paths.log, settle(key, place.paths.log)).write("control", [decision(1)])

    async def run() -> Any:
        auditor = Auditor(place.paths.journal, place.paths.log, settle(key, place.paths.log))
        journal = Journal(place.paths.journal, "auditor", segment_bytes=100_000, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())

        async def commit() -> None:
            await asyncio.to_thread(auditor.commit)

        rotating = Rotating(auditor, journal, key, place.auditor_state, commit)

        async def look() -> None:
            while True:
                await rotating.step()
                await asyncio.sleep(0.01)

        looking = asyncio.create_task(look())
        try:
            return await act()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            journal.close(5)
            auditor.close()

    return asyncio.run(run())


@pytest.mark.promise("P5.key-rotation-in-log")
def test_the_operator_is_told_the_new_key_once_it_has_signed(place: SimpleNamespace) -> None:
    pub = place.paths.keys / "checkpoint.pub"
    old = read_verifier(pub.read_text())
    reply: Reply = beside(place, lambda: keys.rotate(call(place)))
    assert reply.data["old"] == old.encode()
    assert pub.read_text() == f"{reply.data['new']}\n"
    (link,) = links(place.paths.log)
    assert (link.record["sekisho.by"], link.record["sekisho.justification"]) == ("ciso", "定期の交換")
    assert link.record["http.request.id"] == "RQ-1"
    assert succession(place.paths.log, old).present.encode() == reply.data["new"]


def test_a_dry_run_asks_for_nothing(place: SimpleNamespace) -> None:
    reply = asyncio.run(keys.rotate(call(place, dry_run=True)))
    assert reply.data["hit"] == 1  # type: ignore[union-attr]
    assert asked(place.auditor_state) is None


def test_what_cannot_be_done_is_said(place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_PATIENCE", 0.2)
    with pytest.raises(Problem, match="まだ応じていません"):  # no auditor runs
        asyncio.run(keys.rotate(call(place)))
    waiting = asked(place.auditor_state)
    assert waiting is not None
    with pytest.raises(Problem, match="まだ終わっていません"):  # and the request stands
        asyncio.run(keys.rotate(call(place)))
    ask(place.auditor_state, Request(generate("x").verifier.encode(), "ciso", "x", "RQ-1"))
    monkeypatch.setattr(keys, "asked", lambda _: None)
    monkeypatch.setattr(keys, "ask", lambda *_: None)
    monkeypatch.setattr(keys, "_PATIENCE", 20.0)
    with pytest.raises(Problem, match="鍵は元のままです"):
        beside(place, lambda: keys.rotate(call(place)))
    (place.paths.keys / "checkpoint.pub").unlink()
    with pytest.raises(Problem, match="読めません"):
        asyncio.run(keys.rotate(call(place)))
