"""Every shape in which records are kept, pinned by files that were written once and must stay readable for ever."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import orjson
import pytest
from backports import zstd

from audit.entries import EntriesInvalid, Expired, decode
from audit.event import Action, event
from audit.reader import IntegrityError, JournalReader
from audit.segment import GENESIS, Chain, encode, head
from audit.verify import verify_journals

GOLDEN = Path(__file__).parents[2] / "golden" / "audit"
W = "worker-0"
FIRST = "000001-000000000001"
SECOND = "000002-000000000001"


def golden_lines() -> list[bytes]:
    """The lines of the frozen format (`test_journal_golden`), which all shapes hold."""
    return [
        line
        for name in (FIRST, SECOND)
        for line in (GOLDEN / "v1" / W / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
    ]


def entries_of(lines: list[bytes]) -> bytes:
    """By the definition, sharing no code with the product."""
    return b"".join(hashlib.sha256(bytes.fromhex(line[9:41].decode()) + line[50:-2]).digest() for line in lines)


def auditor_lines() -> list[bytes]:
    """Write the auditor's golden journal: it opens, deletes a worker's segment, opens again, deletes its own."""

    def expired(writer: str, lines: list[bytes]) -> dict[str, object]:
        return event(Action.AUDIT_EXPIRED, 1_700_000_003.0, {
            "sekisho.expired.writer": writer, "sekisho.expired.class": "access" if writer == W else "system",
            "sekisho.expired.epoch": 1, "sekisho.expired.first_seq": 1, "sekisho.expired.last_seq": 2,
            "sekisho.expired.records": 2, "sekisho.expired.sha256": hashlib.sha256(entries_of(lines)).hexdigest(),
            "sekisho.expired.first_at": "2023-11-14T22:13:20.000Z",
            "sekisho.expired.last_at": "2023-11-14T22:13:21.250Z",
        })  # fmt: skip

    opened = event(Action.JOURNAL_OPENED, 1_700_000_000.0)
    made: list[bytes] = []
    prev = GENESIS.hex().encode()
    for at, (epoch, seq) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        body = [opened, expired(W, golden_lines()[:2]), opened, expired("auditor", made[:2])][at]
        salt = hashlib.sha256(bytes([100 + at])).digest()[:16]
        line, prev = encode(head("auditor", epoch), seq, prev, salt, orjson.dumps(body))
        made.append(line)
    return made


def everything(root: Path, writer: str) -> list[tuple[int, int, bytes, bytes]]:
    reader = JournalReader(root, writer, expired=True)
    found: list[tuple[int, int, bytes, bytes]] = []
    while records := reader.read():
        found += [(record.epoch, record.seq, record.entry, record.line) for record in records]
    return found


@pytest.mark.promise("P5.every-shape-readable")
def test_compressed_segments_read_as_the_lines_they_hold() -> None:
    folder = GOLDEN / "compressed" / W
    assert sorted(path.name for path in folder.iterdir()) == [f"{FIRST}.jsonl.zst", f"{SECOND}.jsonl.zst"]
    for name in (FIRST, SECOND):  # any zstd reads it
        plain = (GOLDEN / "v1" / W / f"{name}.jsonl").read_bytes()
        assert zstd.decompress((folder / f"{name}.jsonl.zst").read_bytes()) == plain
    assert everything(GOLDEN / "compressed", W) == everything(GOLDEN / "v1", W)
    assert verify_journals(GOLDEN / "compressed").records == 3


@pytest.mark.promise("P5.every-shape-readable")
def test_expired_segments_keep_their_entries_and_the_lines_that_proofs_need() -> None:
    root, lines, auditors = GOLDEN / "expired", golden_lines(), auditor_lines()
    worker = Expired(W, 1, 1, GENESIS, entries_of(lines[:2]))
    assert (root / W / f"{FIRST}.entries").read_bytes() == worker.encode()
    own = Expired("auditor", 1, 1, GENESIS, entries_of(auditors[:2]), {2: auditors[1]})
    assert (root / "auditor" / f"{FIRST}.entries").read_bytes() == own.encode()
    assert worker.encode() == (
        b'{"v":1,"writer":"worker-0","epoch":1,"seq":1,"count":2,"prev":"' + b"00" * 32 + b'","kept":0}\n'
        + entries_of(lines[:2])
    )  # fmt: skip
    assert (root / "auditor" / f"{SECOND}.jsonl").read_bytes() == b"".join(auditors[2:])
    complete = everything(GOLDEN / "v1", W)
    assert everything(root, W) == [(*each[:3], b"") for each in complete[:2]] + complete[2:]
    assert [line for *_, line in everything(root, "auditor")] == [b"", *auditors[1:]]
    proved = verify_journals(root)
    assert (proved.records, proved.writers[W].expired, proved.writers["auditor"].expired) == (7, 2, 1)


def test_what_is_not_wanted_is_passed_over() -> None:
    reader = JournalReader(GOLDEN / "expired", W)
    (record,) = reader.read()
    assert (record.epoch, record.seq, record.line) == (2, 1, golden_lines()[2])
    assert reader.read() == []
    assert [record.seq for record in JournalReader(GOLDEN / "expired", "auditor").read()] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"v":1', b'"v":2', "version: got 2, expected 1"),
        (b'"v":1,', b'"v": 1,', "header"),
        (b'"count":2', b'"count":3', "expected 3 entries"),
        (b'"kept":0', b'"kept":1', "expected 2 entries and 1 lines"),
        (b'"writer":"worker-0"', b'"writer":"../elsewhere"', "header"),
    ],
)
def test_a_list_that_this_version_cannot_read_says_so(tmp_path: Path, old: bytes, new: bytes, says: str) -> None:
    root = tmp_path / "expired"
    shutil.copytree(GOLDEN / "expired", root)
    path = root / W / f"{FIRST}.entries"
    data = path.read_bytes().replace(old, new)
    path.write_bytes(data)
    with pytest.raises(EntriesInvalid, match=says):
        decode(data)
    with pytest.raises(IntegrityError, match=says) as caught:
        verify_journals(root)
    assert (caught.value.writer, caught.value.segment) == (W, path.name)


def test_a_line_of_a_version_to_come_says_so() -> None:
    chain = Chain(W)
    chain.turn(1)
    with pytest.raises(Exception, match="v: got 2, expected 1"):
        chain.accept(golden_lines()[0].replace(b'"v":1', b'"v":2'))


@pytest.mark.promise("P5.every-shape-readable")
@pytest.mark.parametrize("shape", ["compressed", "expired"])
def test_a_bit_that_flipped_is_found_and_its_segment_named(tmp_path: Path, shape: str) -> None:
    root = tmp_path / shape
    shutil.copytree(GOLDEN / shape, root)
    path = next((root / W).glob(f"{FIRST}.*"))
    good, before = path.read_bytes(), everything(root, W)
    harmless = 0
    named: set[tuple[str, str]] = set()
    for position in range(0, 8 * len(good), 3):  # each byte is met, and in the end each bit of a byte
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
        try:
            verify_journals(root)
        except IntegrityError as error:  # an entry is judged by the `prev` behind it, which may be the next segment's
            named.add((error.writer, error.segment[:6]))
        else:
            assert everything(root, W) == before, position  # RFC 8878 has bits that no decoder looks at
            harmless += 1
    path.write_bytes(good)
    assert named <= {(W, "000001"), (W, "000002")}
    assert harmless <= (8 if shape == "compressed" else 0)
