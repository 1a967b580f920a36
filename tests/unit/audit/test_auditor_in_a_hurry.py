"""An auditor that hashes many records side by side: the same log, to the byte, as one that does not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from audit.auditor import Auditor
from audit.busy import RATE, WINDOW, Busy
from audit.checkpoint import Signer, generate
from audit.daemon import Daemon
from audit.journal import Journal
from audit.verifying import hashing
from tests.support.busy_journal import BusyWorker

NOW = 1_790_000_000.0
RECORDS = 1500


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    BusyWorker(tmp_path / "journal", "worker-0").write(RECORDS, NOW)
    return tmp_path / "journal"


def log_of(journals: Path, folder: Path, signer: Signer, *, hurried: bool) -> dict[str, bytes]:
    """Let an auditor take all in; return the files of its log."""
    auditor = Auditor(journals, folder, signer)
    if hurried:
        auditor.hurry()
    while auditor.poll():
        pass
    auditor.commit()
    auditor.close()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_log_is_the_same(tmp_path: Path, journals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, used = generate("log.example"), []
    fast = hashing.fastest(hashing.WORTH)
    assert fast is not hashing.PLAIN

    def chained(data: bytes, start: bytes, seq: int, prev: bytes) -> tuple[bytes, int]:
        used.append("chained")
        return fast.chained(data, start, seq, prev)

    def prefixed(prefix: bytes, rows: bytes, width: int) -> bytes:
        used.append("prefixed")
        return fast.prefixed(prefix, rows, width)

    plain = log_of(journals, tmp_path / "plain", signer, hurried=False)
    monkeypatch.setattr("audit.auditor.fastest", lambda _: hashing.Hashing(chained, prefixed, worth=0))
    assert log_of(journals, tmp_path / "hurried", signer, hurried=True) == plain
    assert set(used) == {"chained", "prefixed"}


def test_a_machine_that_hashes_wrongly_side_by_side_hashes_plainly(
    tmp_path: Path, journals: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> tuple[bytes, int]:
        raise OSError("another digest than OpenSSL's")

    signer = generate("log.example")
    plain = log_of(journals, tmp_path / "plain", signer, hurried=False)
    monkeypatch.setattr("audit.auditor.fastest", lambda _: hashing.Hashing(broken, broken, worth=0))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "sekisho.auditor"):
        assert log_of(journals, tmp_path / "hurried", signer, hurried=True) == plain
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("looks", "busy"),
    [
        ([(100.0, RATE * WINDOW)], True),
        ([(100.0, RATE * WINDOW - 1)], False),
        ([(100.0 + second, RATE * 0.99) for second in range(100)], False),
        ([(100.0 + second, RATE * 1.01) for second in range(5)], True),
        ([(100.0, RATE * WINDOW - 1), (100.0 + WINDOW, RATE * WINDOW - 1)], False),
    ],
)
def test_only_who_is_busy_all_the_time_is_in_a_hurry(looks: list[tuple[float, float]], busy: bool) -> None:
    counts = Busy()
    assert any(counts.saw(int(taken), now) for now, taken in looks) is busy


def test_a_daemon_is_in_a_hurry_once_it_is_busy(
    tmp_path: Path, journals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.busy.RATE", RECORDS / WINDOW)
    auditor = Auditor(journals, tmp_path / "log", generate("log.example"))
    hurried: list[float] = []
    monkeypatch.setattr(auditor, "hurry", lambda: hurried.append(1.0))
    daemon = Daemon(
        auditor, Journal(journals, "auditor", segment_bytes=1 << 20, segment_age=3600.0), 5.0, records=1_000_000
    )

    async def run() -> None:
        for now in (100.0, 100.1, 100.2, 100.3):
            await daemon._step(now)

    asyncio.run(run())
    auditor.close()
    assert hurried == [1.0]
