"""What a witness remembers: durable before it signs, one request at a time, and what contradicts is written down."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest

from audit import durable
from audit.checkpoint import cosigned, generate, generate_cosigner, with_line
from audit.witness.memory import MemoryInvalid, Witness, file_name
from audit.witness.protocol import Refused
from audit.witnesses import remembered
from tests.support.witnessed_logs import SmallLog

NOW = 1_700_000_000.0
LOG = SmallLog(generate("log.example/audit"))
OTHER = SmallLog(generate("other.example/log"))
FORKED = SmallLog(LOG.signer, fork=5)
COSIGNER = generate_cosigner("w.example")
LOGS = {log.signer.name: [log.signer.verifier] for log in (LOG, OTHER)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def witness(folder: Path) -> Witness:
    return Witness(folder, COSIGNER, LOGS)


def test_two_logs_are_remembered_apart_and_over_restarts(folder: Path) -> None:
    first = witness(folder)
    line = first.add(LOG.request(0, 7), NOW)
    assert cosigned(with_line(LOG.note(7), line), COSIGNER.verifier) == int(NOW)
    first.add(OTHER.request(0, 3), NOW)
    first.close()
    again = witness(folder)
    with pytest.raises(Refused) as refused:
        again.add(LOG.request(0, 9), NOW)
    assert (refused.value.status, refused.value.text) == (409, "7\n")
    again.add(LOG.request(7, 9), NOW + 1)
    again.add(OTHER.request(3, 4), NOW - 50)  # the clock was set back
    again.close()
    assert [(row["origin"], row["size"], row["time"]) for row in remembered(folder)] == sorted(
        [("log.example/audit", 9, int(NOW) + 1), ("other.example/log", 4, int(NOW))], key=lambda row: file_name(row[0])
    )


def test_nothing_is_signed_before_the_memory_is_durable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = witness(folder)
    one.add(LOG.request(0, 7), NOW)
    for break_at in ("fsync", "rename"):

        def refuse(*_: object, what: str = break_at) -> None:
            raise OSError(5, what)

        with monkeypatch.context() as patch:
            if break_at == "fsync":
                patch.setattr("audit.durable.os.fsync", refuse)
            else:
                patch.setattr(Path, "rename", refuse)
            with pytest.raises(OSError, match=break_at):
                one.add(LOG.request(7, 9), NOW)
        known = one.known(LOG.signer.name)
        assert known is not None
        assert known.checkpoint == LOG.checkpoint(7)
    one.add(LOG.request(7, 9), NOW)  # afterwards it goes on
    one.close()


def test_a_write_that_took_but_was_not_answered_is_asked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = witness(folder)
    kept = durable.replace

    def keep_and_die(path: Path, data: bytes) -> None:
        kept(path, data)
        raise OSError(5, "died behind the write")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", keep_and_die)
        with pytest.raises(OSError, match="died"):
            one.add(LOG.request(0, 7), NOW)
    with pytest.raises(Refused) as refused:
        one.add(FORKED.request(0, 7), NOW)
    assert refused.value.status == 409  # the fork does not get what the first one did not receive
    line = one.add(LOG.request(7, 7), NOW + 3)
    assert cosigned(with_line(LOG.note(7), line), COSIGNER.verifier) == int(NOW) + 3
    one.close()


def test_of_many_at_once_only_one_tree_is_cosigned(folder: Path) -> None:
    one = witness(folder)
    one.add(LOG.request(0, 5), NOW)
    bodies = [log.request(5, size) for size in range(6, 14) for log in (LOG, FORKED)]
    lines: list[tuple[bytes, str]] = []
    start = threading.Barrier(len(bodies))

    def ask(body: bytes) -> None:
        start.wait()
        try:
            lines.append((body, one.add(body, NOW)))
        except Refused:
            return

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.close()
    assert len(lines) == 1  # all came from size 5: the second one is a conflict


def test_what_contradicts_is_told_and_kept_with_its_proof(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = witness(folder)
    one.add(LOG.request(0, 7), NOW)
    for body in (LOG.request(0, 3), FORKED.request(7, 7), FORKED.request(7, 7), FORKED.request(7, 9)):
        with pytest.raises(Refused):
            one.add(body, NOW)
    with pytest.raises(Refused):
        one.add(SmallLog(generate(LOG.signer.name)).request(0, 7), NOW)  # not the log's key: nothing is kept of it
    one.close()
    (row,) = remembered(folder)
    assert row["findings"] == {"rolled_back": 1, "forked": 2, "unproved": 1}
    kept = orjson.loads((folder / f"{file_name(LOG.signer.name)}.findings.json").read_bytes())
    assert LOG.signer.verifier.open(kept["forked"]["first"]["note"]) != LOG.signer.verifier.open(row["note"])
    said = capfd.readouterr().err
    assert said.count("forked") == 1
    assert said.count("witness: log.example/audit: ") == 3


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"v":1,"origin":"log.example/audit","size":7,"root":"00","time":1,"note":""}']
)
def test_a_damaged_memory_cosigns_nothing(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / f"{file_name(LOG.signer.name)}.json").write_bytes(content)
    with pytest.raises(MemoryInvalid, match=file_name(LOG.signer.name)):
        witness(folder)


def test_one_process_remembers_in_one_folder(folder: Path) -> None:
    one = witness(folder)
    with pytest.raises(OSError, match="another process remembers here"):
        witness(folder)
    one.close()
    witness(folder).close()
