"""Evidence bundles: what is in them, and what the stand-alone verifier says of them, whole and forged in every way."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.bundle import verify_bundle
from audit.bundle.covered import Coverage, NotAsWritten
from audit.bundle.selection import Selection, select
from audit.checkpoint import generate, read_verifier
from audit.detect.engine import case_record
from audit.detect.signal import Kind, Severity, Signal
from audit.event import Action, event
from audit.issued import IssuedLog, issued
from audit.tiles import Tiles
from gateway.gate.reference import new_reference
from tests.support import evidence
from tests.support.trails import Trail, decision

START = 1_700_000_000
POLICY = "version: 1\n"
HASH = hashlib.sha256(POLICY.encode()).hexdigest()
PERIOD = {"since": START + 50, "until": START + 150, "case": "", "filters": {}}


def passage(number: int) -> list[dict[str, Any]]:
    """A decision and, half a minute later, its completion."""
    user = "sato" if number % 3 else "tanaka"
    request = {"http.request.id": new_reference(START + number)}
    done = event(Action.REQUEST_COMPLETED, START + number + 30.0, request)
    return [decision(number, {**request, "user.name": user, "sekisho.policy.hash": HASH}), done]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 requests over two workers, in two epochs, a checkpoint of every hundred, and 5 requests that none covers."""
    folder = tmp_path_factory.mktemp("trail")
    trail = Trail(folder / "journal", folder / "log", generate("log.example"))
    issued = IssuedLog(trail.log)
    for half in (0, 100):
        for worker in (0, 1):
            events = [each for number in range(half + worker, half + 100, 2) for each in passage(number)]
            trail.write(f"worker-{worker}", sorted(events, key=lambda each: str(each["@timestamp"])))
        trail.sign()
        issued.keep((trail.log / "checkpoint").read_text(), START + 100.0 + half * 10)
    trail.write("worker-1", [decision(number) for number in range(100, 105)])
    (folder / "key.pub").write_text(trail.signer.verifier.encode())
    return folder


@pytest.fixture(scope="module")
def made(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a period."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    evidence.make(home, folder, PERIOD, {HASH: POLICY})
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy to forge."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries") / "only-cryptography"


def ids(bundle: Path) -> list[str]:
    bodies = [json.loads(line)["body"] for line in evidence.lines(bundle / "events.ndjson.gz")]
    return [f"{body['writer']}:{body['epoch']}:{body['seq']}" for body in bodies]


@pytest.mark.promise("P5.bundle-verifies-alone")
def test_a_whole_bundle_verifies_alone(home: Path, made: Path, libraries: Path) -> None:
    digest = hashlib.sha256((made / "manifest.json").read_bytes()).hexdigest()
    status, said = evidence.verified(made, "--key", str(home / "key.pub"), "--digest", digest, libraries=libraries)
    assert status == 0, said
    assert "すべて正しいです / all holds" in said
    manifest = json.loads((made / "manifest.json").read_text())
    assert f"記録 {manifest['records']} 件、以前のチェックポイント 1、ポリシー 1" in said
    assert manifest["uncovered"] == {"worker-1": 5}
    assert "5 were not signed yet" in said


def test_it_holds_the_lines_of_the_period_and_what_came_of_them(home: Path, made: Path) -> None:
    wanted = set()
    decided = set()
    for path in sorted((home / "journal").glob("*/*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            body = json.loads(line)["body"]
            inside = "2023-11-14T22:14:10" <= body["@timestamp"] < "2023-11-14T22:15:50"
            if inside and body["event.action"] == "request.decided":
                decided.add(body["http.request.id"])
            if inside or body.get("http.request.id") in decided:
                wanted.add(line)
    lines = evidence.lines(made / "events.ndjson.gz")
    own = {line for line in lines if b"journal.opened" not in line}  # they have the time of the test
    opened = [line for line in wanted if b"journal.opened" in line]
    uncovered = {line for line in wanted if b'"epoch":3' in line}
    assert own == wanted - uncovered - set(opened)
    assert len(lines) == len(set(lines))


def test_a_filtered_bundle_has_that_persons_requests_only(home: Path, tmp_path: Path, libraries: Path) -> None:
    evidence.make(home, tmp_path / "b", {**PERIOD, "filters": {"user.name": "tanaka"}}, {HASH: POLICY})
    bodies = [json.loads(line)["body"] for line in evidence.lines(tmp_path / "b" / "events.ndjson.gz")]
    named = {body["http.request.id"] for body in bodies if body["event.action"] == "request.decided"}
    assert len(named) > 30
    assert {body["user.name"] for body in bodies if "user.name" in body} == {"tanaka"}
    assert {body["http.request.id"] for body in bodies} == named
    assert sum(body["event.action"] == "request.completed" for body in bodies) == len(named)
    status, said = evidence.verified(tmp_path / "b", "--key", str(home / "key.pub"), libraries=libraries)
    assert status == 0, said


@pytest.mark.promise("P5.bundle-verifies-alone")
def test_a_case_bundle_has_the_case_and_the_whole_requests_it_rests_on(
    home: Path, tmp_path: Path, libraries: Path
) -> None:
    folder = Path(shutil.copytree(home, tmp_path / "home"))
    trail = Trail(folder / "journal", folder / "log", generate("log.example"))
    shutil.rmtree(trail.log)  # the key of the copied log is not ours: it is grown again under one that is
    (folder / "key.pub").write_text(trail.signer.verifier.encode())
    signal = Signal(
        Kind.REFUSALS_OF_USER, Severity.MEDIUM, "user:sato", START + 9.0, ("worker-1:1:2", "worker-0:2:5"), "拒否", "",
        ("user:sato",),
    )  # fmt: skip
    opened = case_record(signal, None, START + 10.0)
    closing = {"sekisho.case.id": opened["sekisho.case.id"], "sekisho.by": "ciso", "sekisho.justification": "確認済み"}
    trail.write("auditor", [opened])
    trail.write("control", [event(Action.CASE_CLOSED, START + 20.0, closing)])
    trail.sign()

    done = evidence.make(folder, tmp_path / "b", {"case": opened["sekisho.case.id"]}, {HASH: POLICY})

    bodies = [json.loads(line)["body"] for line in evidence.lines(tmp_path / "b" / "events.ndjson.gz")]
    assert sorted(body["event.action"] for body in bodies) == sorted(
        ["case.opened", "case.closed", *["request.decided", "request.completed"] * 2]
    )
    assert done["records"] == 6
    named = {f"{body['writer']}:{body['epoch']}:{body['seq']}" for body in bodies}
    assert {"worker-1:1:2", "worker-0:2:5"} <= named
    status, said = evidence.verified(tmp_path / "b", "--key", str(folder / "key.pub"), libraries=libraries)
    assert status == 0, said
    assert opened["sekisho.case.id"] in said


def test_the_latest_cosigned_checkpoint_goes_along(home: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(home, tmp_path / "home"))
    older = next(iter(issued(folder / "log"))).note
    (folder / "log/cosigned").write_text(older + "— witness.example " + base64.b64encode(bytes(76)).decode() + "\n")
    evidence.make(folder, tmp_path / "b", PERIOD, {HASH: POLICY})
    first = json.loads((tmp_path / "b/checkpoints.ndjson").read_text().splitlines()[0])
    assert first["kept"] == "cosigned"
    assert "— witness.example " in first["note"]
    assert verify_bundle.main([str(tmp_path / "b"), "--key", str(folder / "key.pub")]) == 0
    path = tmp_path / "b/checkpoints.ndjson"
    path.write_text(path.read_text().replace(first["path"][0], first["path"][1]))
    evidence.signed_off(tmp_path / "b")
    assert verify_bundle.main([str(tmp_path / "b"), "--key", str(folder / "key.pub")]) == 1


def test_without_a_key_from_elsewhere_it_warns(bundle: Path, libraries: Path) -> None:
    status, said = evidence.verified(bundle, libraries=libraries)
    assert status == 3
    assert "WARNING: only the key in the bundle was used" in said
    assert "all holds" not in said


@pytest.mark.parametrize(("encoding", "expected"), [
    ("cp932", "すべて正しいです / all holds"), ("cp1252", "all holds"), ("ascii", "all holds"),
])  # fmt: skip
def test_its_words_survive_any_console(home: Path, bundle: Path, libraries: Path, encoding: str, expected: str) -> None:
    status, said = evidence.verified(bundle, "--key", str(home / "key.pub"), libraries=libraries, encoding=encoding)
    assert status == 0, said
    assert said.splitlines()[-1] == expected


def edit(line: bytes) -> bytes:
    return line.replace(b'"sekisho.reason":"allowed"', b'"sekisho.reason":"alloved"')


def changed(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    return lambda bundle: evidence.rewritten(bundle, name, change)


def both(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def forge(bundle: Path) -> None:
        evidence.rewritten(bundle, "events", change)
        evidence.rewritten(bundle, "proofs", change)

    return forge


def without(number: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:number] + lines[number + 1 :]


def swapped(number: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]


def cut(bundle: Path) -> None:
    path = bundle / "events.ndjson.gz"
    path.write_bytes(path.read_bytes()[:-200])


def other_policy(bundle: Path) -> None:
    (bundle / "policies" / f"{HASH}.yaml").write_text("version: 2\n")


FORGERIES = {
    "edited": (changed("events", lambda lines: [*lines[:20], edit(lines[20]), *lines[21:]]), "{20}"),
    "deleted": (changed("events", without(20)), "{20}"),
    "deleted with its proof": (both(without(20)), "{20}"),
    "last deleted with its proof": (both(lambda lines: lines[:-1]), ""),
    "inserted": (changed("events", lambda lines: [*lines[:20], edit(lines[19]), *lines[20:]]), "{19}"),
    "appended": (changed("events", lambda lines: [*lines, lines[0]]), "{0}"),
    "doubled with its proof": (both(lambda lines: [*lines[:20], lines[19], *lines[20:]]), "{19}"),
    "reordered": (changed("events", swapped(20)), "{21}"),
    "reordered with proofs": (both(swapped(20)), "{20}"),
    "no record": (changed("events", lambda lines: [*lines[:20], b"{}\n", *lines[21:]]), "{20}"),
    "spaced": (changed("events", lambda lines: [*lines[:20], lines[20].replace(b"}}\n", b"} }\n")]), "{20}"),
    "proof of another": (changed("proofs", lambda lines: [*lines[:20], lines[19], *lines[21:]]), "{20}"),
    "cut": (cut, "events.ndjson.gz"),
    "policy": (other_policy, HASH),
    "policy removed": (lambda bundle: (bundle / "policies" / f"{HASH}.yaml").unlink(), HASH),
    "file added": (lambda bundle: (bundle / "extra.txt").write_text("x"), ""),
}  # fmt: skip


@pytest.mark.promise("P5.bundle-verifies-alone")
@pytest.mark.parametrize("how", FORGERIES)
def test_each_forgery_is_found_and_the_record_named(
    home: Path, bundle: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    def checked(*more: str) -> tuple[int, str]:
        return verify_bundle.main([str(bundle), "--key", str(home / "key.pub"), *more]), capsys.readouterr().out

    forge, expected = FORGERIES[how]
    there = ids(bundle)
    named = there[int(expected[1:-1])] if expected.startswith("{") else expected
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    forge(bundle)

    status, said = checked()
    assert status == 1, said
    assert named in said
    assert "manifest" in said

    if how not in ("cut", "policy removed"):
        evidence.signed_off(bundle)
    status, said = checked()
    if how in ("last deleted with its proof", "file added"):
        assert status == 0, said  # nothing in the bundle tells: the digest of the export does
    else:
        assert status == 1, said
        assert named in said

    status, said = checked("--digest", digest)
    assert status == 1, said


@pytest.mark.promise("P5.bundle-verifies-alone")
def test_a_bundle_made_anew_with_another_key_is_found(home: Path, tmp_path: Path, libraries: Path) -> None:
    """The whole trail is written again with one word changed and signed by a key of the same name."""
    forged = tmp_path / "forged"
    forger = Trail(forged / "journal", forged / "log", generate("log.example"))
    forger.write("worker-0", [decision(number, {"user.name": "suzuki"}) for number in range(200)])
    forger.sign()
    (forged / "key.pub").write_text(forger.signer.verifier.encode())
    evidence.make(forged, tmp_path / "bundle", PERIOD)

    status, said = evidence.verified(tmp_path / "bundle", "--key", str(home / "key.pub"), libraries=libraries)
    assert status == 1
    assert "the checkpoint is not signed by log.example+" in said
    alone, said = evidence.verified(tmp_path / "bundle", libraries=libraries)
    assert alone == 3, said


def test_a_changed_manifest_is_told_by_its_digest(home: Path, bundle: Path, libraries: Path) -> None:
    path = bundle / "manifest.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text().replace("照会", "監査"))
    status, said = evidence.verified(bundle, "--key", str(home / "key.pub"), "--digest", digest, libraries=libraries)
    assert status == 1
    assert "the manifest is not the one of --digest" in said


def test_no_bundle_is_made_of_what_is_not_as_written(home: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(home, tmp_path / "copied"))
    segment = sorted((copied / "journal/worker-0").glob("000001-*.jsonl"))[8]
    first = int(segment.name[7:19])
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes().replace(b'"allowed"', b'"alloved"', 1))
    position = segment.read_bytes()[: segment.read_bytes().index(b"alloved")].count(b"\n")
    checkpoint = read_verifier((copied / "key.pub").read_text()).open((copied / "log/checkpoint").read_text())
    coverage = Coverage(Tiles(copied / "log", checkpoint.size), checkpoint)
    with pytest.raises(NotAsWritten) as found:
        list(coverage.of(select(copied / "journal", Selection(since=START, until=START + 500))))
    assert found.value.name == f"worker-0:1:{first + position}"


def test_the_verifier_is_the_file_of_the_package_and_imports_nothing_of_ours(made: Path) -> None:
    source = made / "verify.py"
    assert source.read_bytes() == (evidence.ROOT / "audit/bundle/verify_bundle.py").read_bytes()
    tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 9))
    names = [each.names[0].name for each in ast.walk(tree) if isinstance(each, ast.Import)]
    names += [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    imported = {name.split(".")[0] for name in names}
    assert imported - {"cryptography", "__future__"} <= set(sys.stdlib_module_names)
