"""Paths of old apps: each row of `old_paths.jsonl` is read as it says, and no trick reaches a protected path.

A row's `on` says by which exceptions the app is read; `refused` is the fault, else `path`, `text` and `parameter` are
what is sent, what is judged, and what the app alone gets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS, canonical_for
from gateway.gate.request import PathExceptions, RequestFault
from gateway.state.changes import Change
from policies.compile import compile_policy
from policies.decision import Effect
from policies.model import PolicyIR
from tests.corpora.test_path_corpus import expansions, readings
from tests.support.edge import hello, running
from tests.support.gate_world import APP, HOST, TOKEN, condition, policy, rule
from tests.support.real_gate import RealGate, real_gate

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("old_paths.jsonl").read_text().splitlines()
]
BOTH = PathExceptions(jsessionid=True, shift_jis=True)
ADMIN, TABLE = "/admin", "/表"
SECRET = "5EC4E7"


def exceptions(row: dict[str, Any]) -> PathExceptions:
    """Those that the row's app has."""
    return PathExceptions(row["on"] in ("both", JSESSIONID), row["on"] in ("both", SHIFT_JIS))


@pytest.mark.promise("P1.old-paths-by-name")
@pytest.mark.parametrize("row", ROWS, ids=[f"{row['target'][:40]}-{row['on']}" for row in ROWS])
def test_a_path_of_an_old_app_is_read_as_its_row_says(row: dict[str, Any]) -> None:
    found: dict[str, object]
    try:
        path, text, _, parameter = canonical_for(row["target"].encode(), exceptions(row))
        found = {"path": path.decode(), "text": text, "parameter": parameter.decode()}
    except RequestFault as fault:
        found = {"refused": fault.detail}
    assert found == {name: said for name, said in row.items() if name not in ("target", "on", "note")}


def test_every_row_over_the_wire() -> None:
    """The app gets path, parameter and query as they were judged, once; of what is refused it sees nothing."""

    async def main() -> None:
        for on in {row["on"] for row in ROWS}:
            rows = [row for row in ROWS if row["on"] == on and " " not in row["target"] and row["target"].isascii()]
            named = exceptions(rows[0])
            changes = {"path_parameter": JSESSIONID * named.jsessionid, "path_charset": SHIFT_JIS * named.shift_jis}
            async with running(hello, **changes) as edge:
                for row in rows:
                    answer = await edge.ask(b"GET %b HTTP/1.1\r\nHost: app.test\r\n\r\n" % row["target"].encode())
                    assert answer[9:12] == (b"400" if "refused" in row else b"200"), row
                edge.services.pools.close()
                judged = [(request.path.decode(), request.path_text) for request in edge.gatekeeper.judged]
                taken = [row for row in rows if "refused" not in row]
                assert judged == [(row["path"], row["text"]) for row in taken]
                seen = [m for stream in edge.app.streams for m in re.findall(rb"GET (\S+) HTTP/1.1\r\n", stream.data)]
                sent = [row["path"] + row["parameter"] + "".join(row["target"].partition("?")[1:]) for row in taken]
                assert seen == [each.encode() for each in sent]

    uvloop.run(main())


def test_each_character_of_the_code_page_has_one_spelling() -> None:
    """The 9,205 characters of two bytes that Java's windows-31j writes, but for the full-width backslash."""
    spelled: dict[str, bytes] = {}
    for first in range(0x80, 0x100):
        for second in range(0x100):
            pair = bytes((first, second))
            target = b"/%E8%A1%A8%95%5C" + quote_from_bytes(pair, safe="").encode()  # with 95 it cannot be UTF-8
            try:
                text = canonical_for(target, BOTH)[1]
            except RequestFault:
                continue
            if len(text) == 5:
                assert spelled.setdefault(text[-1], pair) == pair
    assert len(spelled) == 9205
    written = {"髙": b"\xfb\xfc", "﨑": b"\xfa\xb1", "㈱": b"\x87\x8a", "≒": b"\x81\xe0"}
    assert {each: spelled.get(each) for each in written} == written


_PIECES = st.sampled_from(
    [b"/", b"/admin", b"%95%5C", b"%95", b"%5C", b"%83A", b"%83%41", b"..", b".", b"%2e", b"%2f", b";", b"%3B", b"a",
     b";jsessionid=", b";jsessionid=A", b"%E3%81%82", b"%C6%B1", b"%81%5F", b"?", b"%25", b"5C", b"%81%40", b"%20"]
)  # fmt: skip


@given(st.lists(_PIECES | st.binary(min_size=1, max_size=1).map(lambda byte: quote_from_bytes(byte, safe="").encode())))
def test_what_is_taken_is_spelled_in_one_way_and_splits_alike_decoded_or_not(pieces: list[bytes]) -> None:
    raw = b"/" + b"".join(pieces)
    try:
        path, text, query, parameter = canonical_for(raw, BOTH)
    except RequestFault:
        return
    again = path + parameter + (b"" if query is None else b"?" + query)
    assert canonical_for(again, BOTH) == (path, text, query, parameter)
    decoded = unquote_to_bytes(path)
    assert text == decoded.decode("cp932")
    assert text.split("/") == [segment.decode("cp932") for segment in decoded.split(b"/")]
    assert decoded == unquote_to_bytes(raw.partition(b"?")[0].partition(b";")[0])
    assert b";" not in path
    assert not set(text.split("/")) & {".", ".."}


def old_readings(sent: bytes) -> set[str]:
    """What some server makes of the target that an old app got: as any server, and by Shift_JIS with and without it."""
    path = sent.partition(b"?")[0]
    found = {reading.casefold() for reading in readings(path) | readings(re.sub(rb";.*", b"", path))}
    decoded = unquote_to_bytes(path)
    return found | {decoded.decode("cp932", "replace").casefold(), decoded.decode("utf-8", "replace").casefold()}


def old_tricks(folder: Path, step: int) -> Iterator[bytes]:
    """The corpus's expansions, each bare and with parameters and half characters in its joints; the rows' own."""
    for target in expansions(folder)[::step]:
        path, mark, query = target.partition(b"?")
        yield target
        yield path + b";jsessionid=" + SECRET.encode() + mark + query
        yield path.replace(b"/admin", b"/;jsessionid=A/admin") + mark + query
        yield path.replace(b"/admin", b"/%95%5C../admin") + mark + query
        yield path.replace(b"/admin", b"/%95/admin") + mark + query
    for row in ROWS:
        yield row["target"].encode()
        yield b"/public" + row["target"].encode()
        yield b"/%E8%A1%A8" + row["target"].encode()  # 表 in UTF-8


def allowed_but_for(*protected: str) -> PolicyIR:
    """A policy by which low privilege may use the app, and nobody what is protected."""
    docs = condition("app", "any_of", "docs")
    denied = rule("protected", Effect.DENY, when=(docs, condition("http.path", "under", *protected)))
    return policy(rule("docs", when=(docs, condition("user.groups", "any_of", "shokuin"))), denied)


def on_disk(folder: Path) -> bytes:
    """All that the journals hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.promise("P1.old-paths-by-name")
def test_no_trick_reaches_a_protected_path_of_an_app_with_both_exceptions(
    corpora: Path, tmp_path: Path, torture: bool
) -> None:
    """Signed in with low privilege, and as a stranger: what the app got means nothing protected to any server."""

    async def ask(gate: RealGate, target: bytes, cookie: bytes) -> None:
        await gate.ask(b"GET %b HTTP/1.1\r\nHost: %b\r\n%bConnection: close\r\n\r\n" % (target, HOST.encode(), cookie))

    async def main() -> None:
        async with real_gate(tmp_path, hello, budget=10**6) as gate:
            world = gate.world
            world.view.set_policy(compile_policy(allowed_but_for(ADMIN, TABLE)), Change(world.view.revision + 1))
            app = world.view.apps[APP.id]
            world.put("app", APP.id, replace(app, path_parameter=JSESSIONID, path_charset=SHIFT_JIS))
            tricks = dict.fromkeys(old_tricks(corpora, 1 if torture else 11))
            targets = [each for each in tricks if b"\n" not in each]
            cookie = b"Cookie: __Host-sekisho-app=%b\r\n" % TOKEN.encode()
            for target in targets:
                await ask(gate, target, b"")
            gate.pools.close()
            assert not any(stream.data for stream in gate.app.streams), "a stranger reached the app"
            for target in (b"/admin", b"/%95%5C", b"/admin/users;jsessionid=A", *targets):
                await ask(gate, target, cookie)
            gate.pools.close()
            seen = [m for stream in gate.app.streams for m in re.findall(rb"GET (\S+) HTTP/1.1\r\n", stream.data)]
            assert len(seen) > 50
            for sent in seen:
                for reading in old_readings(sent):
                    assert not re.match(rf"({ADMIN}|{TABLE})(/|$)", reading), sent
            await gate.kept()
            decided = [each for each in gate.records("worker-0") if each["event.action"] == "request.decided"]
            allowed = [each for each in decided if each["event.outcome"] == "success"]
            assert len(allowed) == len(seen)
            assert len(decided) > len(seen) + 20, "what is protected was not asked for"
            kept = on_disk(tmp_path)
            assert b"jsessionid=" + SECRET.encode() in b"".join(seen)
            assert SECRET.encode() not in kept
            assert b";jsessionid=" not in kept

    uvloop.run(main())
