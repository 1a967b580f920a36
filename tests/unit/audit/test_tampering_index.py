"""Every tampering with the embedded index: found by comparing it with the journals, the first differing row named.

A cell is what is done and what is named; where a tampering cannot be a threat it says why, and nothing changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import duckdb
import orjson
import pytest

from audit.index.files import MANIFEST, load
from audit.index.writer import FORMAT, IndexWriter
from audit.indexed import verify_index
from audit.keeping.expiring import entries_of, leave
from audit.segment import segments
from audit.verify import IntegrityError
from tests.support import tampering
from tests.support.tampering import ACTS, Signed, write
from tests.support.trails import decision


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return tampering.signed(tmp_path_factory.mktemp("plain"), compressed=False)


def rebuilt(trail: Signed, name: str, query: str) -> None:
    """Replace a file of the index by what `query` makes of its `rows`, of which one is `chosen`."""
    path = trail.now.log.parent / "index" / name
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet('{path}')")  # noqa: S608
        database.execute("CREATE MACRO chosen(w, e, s) AS w = 'worker-0' AND e = 1 AND s = 8")
        database.execute(f"COPY ({query}) TO '{path}.new' {FORMAT}")
    write(path, Path(f"{path}.new").read_bytes())


ROW = "worker-0:1:8"
INDEX: Mapping[str, tuple[str, str] | str] = {
    "edit": (
        """SELECT * REPLACE (CASE WHEN chosen(writer, epoch, seq) THEN replace(event, 'sato', 'kato') ELSE event END
        AS event) FROM rows""",
        ROW,
    ),
    "edit a column": (
        """SELECT * REPLACE (CASE WHEN chosen(writer, epoch, seq) THEN 'kato' ELSE user_name END AS user_name)
        FROM rows""",
        ROW,
    ),
    "delete": ("SELECT * FROM rows WHERE NOT chosen(writer, epoch, seq)", ROW),
    "insert": (
        """SELECT * FROM rows UNION ALL SELECT * REPLACE ('worker-9' AS writer) FROM rows
        WHERE chosen(writer, epoch, seq)""",
        "worker-9:1:8",
    ),
    "insert twice": (
        "SELECT * FROM rows UNION ALL SELECT * FROM rows WHERE chosen(writer, epoch, seq)",
        ROW,
    ),
    "reorder": "rows have no order: each carries its place and time, and searches sort by them",
    "truncate": ("", "events-000000001.parquet"),
    "roll back": "an older manifest says how far it has come, and searches read the journals from there",
    "fork": (
        """SELECT * REPLACE (CASE WHEN writer = 'worker-0' AND seq >= 8 THEN '{}' ELSE event END AS event)
        FROM rows""",
        ROW,
    ),
    "re-sign": "it carries no signature: it is compared with journals that do",
    "re-sign with the stolen key": "likewise",
}


def indexed(trail: Signed) -> Path:
    folder = trail.now.log.parent / "index"
    writer = IndexWriter(trail.now.journals, folder)
    while writer.poll(0.0):
        continue
    writer.flush()
    return folder


@pytest.mark.parametrize("act", list(INDEX))
@pytest.mark.promise("P5.index-compared")
def test_a_tampering_with_the_index_is_found_and_named(
    plain: Signed, tmp_path: Path, act: str, request: pytest.FixtureRequest
) -> None:
    assert set(ACTS) <= set(INDEX)
    trail = plain.copy(tmp_path)
    folder = indexed(trail)
    size = trail.kept.size
    assert verify_index(trail.now.journals, folder).rows == size
    name, cell = load(folder).files[0][0], INDEX[act]
    if isinstance(cell, str):
        if act == "reorder":
            rebuilt(trail, name, "SELECT * FROM rows ORDER BY seq DESC, writer")
        if act == "roll back":
            trail.now.write("worker-1", [decision(9000)])
        assert verify_index(trail.now.journals, folder).rows == size
        return
    query, named = cell
    if query:
        rebuilt(trail, name, query)
    else:
        write(folder / name, (folder / name).read_bytes()[:-100])
    request.addfinalizer(lambda: shutil.rmtree(folder))  # others look into every index that tests leave behind
    with pytest.raises(IntegrityError) as caught:
        verify_index(trail.now.journals, folder)
    assert caught.value.writer == "index"
    assert named in str(caught.value)


MANIFESTS: Mapping[str, tuple[str, str]] = {
    "files": ("a file that is not named: its rows are lacking", "document"),
    "links": ("a journal that seems to be taken in further than it was", "place in worker-0"),
    "open": ("a request that seems to be open", "open request X"),
    "times": ("times by which searches pass a file over", "times of events-000000001.parquet"),
}


@pytest.mark.parametrize("what", list(MANIFESTS))
def test_a_lying_manifest_is_named(plain: Signed, tmp_path: Path, what: str) -> None:
    trail = plain.copy(tmp_path)
    folder = indexed(trail)
    saved = orjson.loads((folder / MANIFEST).read_bytes())
    if what == "files":
        saved["files"] = []
    elif what == "links":
        saved["links"]["worker-0"][1] += 5
    elif what == "open":
        saved["open"]["X"] = {"at": ["worker-0", 1, 3], "since": 0.0, "shown": False}
    else:
        saved["files"][0][2] = saved["files"][0][1]
    write(folder / MANIFEST, orjson.dumps(saved))
    with pytest.raises(IntegrityError, match=MANIFESTS[what][1]):
        verify_index(trail.now.journals, folder)


def test_open_requests_completions_and_journals_that_grew_are_no_differences(plain: Signed, tmp_path: Path) -> None:
    trail = plain.copy(tmp_path)
    forwarded = [decision(500 + at, {"sekisho.verdict": "forward"}) for at in range(4)]
    trail.now.write("worker-1", forwarded)
    folder = indexed(trail)
    assert len(load(folder).open_requests) == 4
    before = verify_index(trail.now.journals, folder).rows
    trail.now.write("worker-1", [decision(600)])
    assert verify_index(trail.now.journals, folder).rows == before
    shutil.rmtree(folder)
    assert verify_index(trail.now.journals, folder).rows == 0


def test_rows_whose_journal_expired_are_counted_and_not_compared(plain: Signed, tmp_path: Path) -> None:
    trail = plain.copy(tmp_path)
    folder = indexed(trail)
    rows = verify_index(trail.now.journals, folder).rows
    found = segments(trail.now.journals / "worker-0")
    held = entries_of(found[0], found[1:2])
    leave(found[0], held)
    found[0].path.unlink()
    proof = verify_index(trail.now.journals, folder)
    assert (proof.rows, proof.expired) == (rows - held.count, held.count)
