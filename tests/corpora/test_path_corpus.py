"""Path, header and method tricks of the public corpus: whatever the app may decode, it is what was judged."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import uvloop

from gateway.gate.request import RequestFault
from gateway.gate.target import canonical
from tests.support.edge import hello, running

PROTECTED = "/admin/users"


def lines(folder: Path, name: str) -> list[bytes]:
    """Return the entries of one list."""
    return [line for line in (folder / "paths" / name).read_bytes().split(b"\n") if line]


def readings(path: bytes) -> set[str]:
    """Return every path that some server is known to make of `path`: decoded up to thrice, cut, folded, resolved."""
    seen: set[str] = set()
    decoded = path
    for _ in range(3):
        text = decoded.decode("utf-8", "replace").replace("\\", "/")
        folded = unicodedata.normalize("NFKC", text)
        for variant in (text, text.partition(";")[0], re.sub(r";[^/]*", "", text), folded):
            parts: list[str] = []
            for raw in re.split(r"/+", variant.partition("\0")[0]):
                part = raw.strip(" \t\r\n").rstrip(". ") if set(raw) - set(".") else raw
                if part == "..":
                    parts = parts[:-1]
                elif part not in ("", "."):
                    parts.append(part)
            seen.add("/" + "/".join(parts))
        decoded = unquote_to_bytes(decoded)
    return seen


def expansions(folder: Path) -> list[bytes]:
    """Return every mid and end trick around a protected and a public path."""
    targets: list[bytes] = []
    for middle in lines(folder, "midpaths"):
        targets += [b"/admin/" + middle + b"/users", b"/admin" + middle + b"users",
                    b"/public/" + middle + b"/admin/users",
                    b"/public" + middle + b"/../admin/users", b"/" + middle + b"/admin/users"]  # fmt: skip
    for end in lines(folder, "endpaths"):
        targets += [b"/admin/users" + end, b"/public" + end]
    return targets


@pytest.mark.promise("P1.one-canonical-path")
def test_no_trick_reads_as_the_protected_path_unless_it_says_so(corpora: Path) -> None:
    """An accepted target is read the same by every server: only its own decoded form, no other."""
    accepted = 0
    for target in expansions(corpora):
        try:
            path, text, _ = canonical(target)
        except RequestFault:
            continue
        accepted += 1
        resolved = {reading.casefold() for reading in readings(path)}
        own = (text.rstrip("/") or "/").casefold()
        if not own.startswith(PROTECTED):
            assert PROTECTED not in resolved, target
        if "%" not in text:
            raw = (path.decode().rstrip("/") or "/").casefold()
            trimmed = re.sub(r" *(/) *", r"\1", own)  # a blank that begins a segment cannot leave it
            assert resolved <= {own, raw, trimmed, unicodedata.normalize("NFKC", own)}, target
    assert accepted > 50


def test_tricks_over_the_wire_send_what_was_judged(corpora: Path, torture: bool) -> None:
    """Every accepted trick reaches the app with exactly the judged bytes; header tricks do not reach it at all."""
    headers = b"".join(
        b"%b: /admin\r\n" % name for name in lines(corpora, "headers") if re.fullmatch(rb"[A-Za-z0-9-]+", name)
        and name.lower() not in (b"host", b"origin", b"referer", b"referrer", b"x-referrer", b"x-wap-profile")
    )  # fmt: skip

    async def main() -> None:
        async with running(hello) as edge:
            for target in expansions(corpora)[:: 1 if torture else 7]:
                await edge.ask(b"GET %b HTTP/1.1\r\nHost: app.test\r\n%b\r\n" % (target, headers))
            judged = [request.target for request in edge.gatekeeper.judged]
            edge.services.pools.close()
            seen = [m for stream in edge.app.streams for m in re.findall(rb"GET (\S+) HTTP/1.1\r\n", stream.data)]
            assert seen == judged
            assert judged
            assert not any(b": /admin\r\n" in stream.data for stream in edge.app.streams)

    uvloop.run(main())


def test_methods_outside_the_known_ones_are_not_forwarded(corpora: Path) -> None:
    """TRACE and CONNECT are 405, unknown words 501, anything else 400."""

    async def main() -> None:
        async with running(hello) as edge:
            for method in lines(corpora, "httpmethods"):
                answer = await edge.ask(b"%b / HTTP/1.1\r\nHost: app.test\r\n\r\n" % method)
                status = int(answer[9:12])
                if method in (b"TRACE", b"CONNECT"):
                    assert status == 405
                else:
                    assert status in (
                        (200,) if method in b"GET HEAD POST PUT PATCH DELETE OPTIONS".split() else (501, 400)
                    )

    uvloop.run(main())
