"""The public HTTP corpus through the real edge and gate modules, with a judge that allows everything (oracle run 2)."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.support.edge import hello, running
from tests.support.http_oracle import check_case

# Messages that their source refuses for reasons which are not ours; each reaches the app as exactly one request.
NOT_OUR_REASON = {
    "invalid/006.http": "target within our limit of 8 KiB",
    "invalid/007.http": "field within our limit of 16 KiB",
    "invalid/008.http": "fields within our limits",
    "invalid/010.http": "more fields than that source allowed by configuration",
    "invalid/017.http": "field within our limit of 16 KiB",
    "invalid/019.http": "contradictory scheme headers, which we drop",
    "invalid/limit_header_default_01.http": "field within our limit of 16 KiB",
    "connection.md:82": "bytes after a request that closes are thrown away, unread",
    "connection.md:111": "bytes after a request that closes are thrown away, unread",
    "finish.md:7": "the message is whole once it has a Host",
}
# Why we refuse a well-formed message.
DOCUMENTED = re.compile(
    r"Host missing or not a name"
    r"|query holds a character that must be encoded|path holds a character that must be encoded"
    r"|empty segment|target is not in origin form"
    r"|TRACE or CONNECT|method not known|method is not a word in capitals"
    r"|Transfer-Encoding other than chunked|Transfer-Encoding with Content-Length or on HTTP/1.0"
    r"|field sent twice: transfer-encoding|field name outside letters"
    r"|head does not follow RFC 9112|request line is not method|version other than"
    r"|WebSocket version is not 13|request does not start with a method|connection ended within"
    r"|bare CR, bare LF or NUL"
)
EXTENSION_OR_TRAILER = re.compile(r"chunk size is not a plain number|trailers|connection ended within the body")


def with_host(raw: bytes) -> bytes:
    """Add a Host header where the case has none."""
    if re.search(rb"(?i)(^|\n)host[ \t]*:", raw):
        return raw
    found = re.match(rb"(?:\r\n)*[^\r\n]+\r\n", raw)
    return raw if found is None else found[0] + b"Host: added.test\r\n" + raw[found.end() :]


async def run(cases: list[dict[str, Any]], *, add_host: bool) -> tuple[Counter[str], list[str]]:
    """Check every case; return how many of each kind reached the app as a whole, and what went wrong."""
    forwarded: Counter[str] = Counter()
    wrong: list[str] = []
    async with running(hello) as edge:
        for case in cases:
            name, expect = case["name"], case["expect"]
            raw = base64.b64decode(case["raw_base64"])
            raw = with_host(raw) if add_host else raw
            try:
                seen, _ = await check_case(edge, raw, "" if name in NOT_OUR_REASON else expect)
            except (AssertionError, TimeoutError) as error:
                wrong.append(f"{name} ({expect}): {error or type(error).__name__}")
                continue
            whole = any(request.complete for request in seen)
            forwarded[expect] += whole
            if expect == "valid" and not whole:
                faults = [fault.detail for fault in edge.gatekeeper.rejected]
                details = [outcome.detail for _, outcome in edge.gatekeeper.outcomes]
                documented = any(DOCUMENTED.search(d) for d in faults) or any(
                    EXTENSION_OR_TRAILER.search(d) for d in details
                )
                if not documented:
                    wrong.append(f"{name}: refused without a documented reason: {faults} {details}")
    return forwarded, wrong


@pytest.mark.promise("P2.judged-is-what-the-app-sees")
@pytest.mark.parametrize(("add_host", "valid_forwarded"), [(False, 14), (True, 66)])
def test_every_case_in_one_write(corpora: Path, add_host: bool, valid_forwarded: int) -> None:
    """All six oracle rules hold for every case; the number of well-formed messages passed on is pinned."""
    lines = (corpora / "http1_requests.jsonl").read_text().splitlines()
    forwarded, wrong = uvloop.run(run([json.loads(line) for line in lines], add_host=add_host))

    assert wrong == []
    assert forwarded["valid"] == valid_forwarded
