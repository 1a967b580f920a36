"""The journal's format, pinned by bytes: these lines were written once and must stay readable and equal for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from audit.event import Action, event
from audit.reader import JournalReader
from audit.segment import GENESIS, Chain, LineFault, body_of, encode, head
from audit.verify import verify_journals

GOLDEN = Path(__file__).parents[2] / "golden" / "audit" / "v1"
ENTRY = "7e0d65f967fa373f772a9535588d2b5776bc1fc3b4aad7261971df502f45ef8e"
_DECISION = {
    "http.request.id": "01HF7YAT00000000",
    "user.full_name": "佐藤 花子",
    "user.group.name": ["税務課"],
    "http.response.status_code": 403,
    "sekisho.device.managed": False,
    "user_agent.original": 'a"\\\n\x1b\u2028',
}
_GAP = {"sekisho.gap.reason": "writing failed: [Errno 5]", "sekisho.gap.refused": 7}
EVENTS = [
    event(Action.JOURNAL_OPENED, 1_700_000_000.0),
    event(Action.REQUEST_DECIDED, 1_700_000_001.25, _DECISION),
    event(Action.AUDIT_GAP, 1_700_000_002.5, _GAP),
]


def lines() -> list[bytes]:
    """Write the golden journal with salts that are no secret: one epoch of two records, a second of one."""
    made: list[bytes] = []
    prev = GENESIS.hex().encode()
    for at, (epoch, seq) in enumerate([(1, 1), (1, 2), (2, 1)]):
        salt = hashlib.sha256(bytes([at])).digest()[:16]
        line, prev = encode(head("worker-0", epoch), seq, prev, salt, orjson.dumps(EVENTS[at]))
        made.append(line)
    return made


@pytest.mark.promise("P5.format-pinned")
def test_the_writer_makes_the_golden_bytes() -> None:
    first, second, third = lines()
    folder = GOLDEN / "worker-0"
    assert (folder / "000001-000000000001.jsonl").read_bytes() == first + second
    assert (folder / "000002-000000000001.jsonl").read_bytes() == third


def test_the_reader_reads_the_golden_bytes_and_derives_their_entries() -> None:
    assert verify_journals(GOLDEN).records == 3
    reader = JournalReader(GOLDEN, "worker-0")
    found = [record for _ in range(3) for record in reader.read()]
    assert found[-1].entry.hex() == ENTRY
    for record in found:  # by the definition, sharing no code with the reader
        salt, body = record.line[9:41], record.line[50:-2]
        assert hashlib.sha256(bytes.fromhex(salt.decode()) + body).digest() == record.entry
    body = orjson.loads(body_of(found[1].line))
    assert {name: body[name] for name in EVENTS[1]} == EVENTS[1]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"v":1', b'"v":2', "v"),
        (b'"writer":"worker-0"', b'"writer":"worker-1"', "writer"),
        (b'"epoch":1', b'"epoch":3', "epoch"),
        (b'"seq":1', b'"seq":2', "seq"),
        (b'"prev":"00', b'"prev":"01', "prev"),
        (b'"epoch":1,"seq":1', b'"seq":1,"epoch":1', "format"),
        (b'{"salt"', b'{ "salt"', "format"),
        (b"}}\n", b"}} \n", "format"),
        (b"}}\n", b"}\n", "format"),
    ],
)
def test_a_line_that_differs_in_its_frame_is_named(old: bytes, new: bytes, what: str) -> None:
    chain = Chain("worker-0")
    chain.turn(1)
    with pytest.raises(LineFault) as caught:
        chain.accept(lines()[0].replace(old, new))
    assert caught.value.what == what
