"""`sekisho audit verify`: proves the trail, or a part of it, without a server and without trust in one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.call import Call, tell
from cli.command import shows
from cli.cosignatures import cosigned_by
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.last_verified import LastVerified
from cli.moments import age, parse_moment
from cli.place import state_file
from cli.render.table import Column
from cli.trail_files import JournalFolder, KeyFile, LogFolder, opened, trail_files

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint
    from audit.verify import Span, Verified

WRITERS = (
    Column("writer", "書き手", "writer", keep=True),
    Column("records", "記録", "records"),
    Column("epochs", "起動", "epochs"),
    Column("segments", "ファイル", "files"),
    Column("removed", "削除", "removed"),
    Column("expired", "保存期間終了", "expired"),
    Column("torn", "切れ端", "torn"),
)
Kept = Annotated[
    list[Path] | None, typer.Option("--checkpoint", help=t("別に保管したチェックポイント", "kept elsewhere"))
]
SinceLast = Annotated[
    bool, typer.Option("--since-last", help=t("前回の続きだけを検証", "only what came after the last time"))
]
Memory = Annotated[
    Path | None, typer.Option("--memory", help=t("前回の状態を覚えるファイル", "file that remembers the last time"))
]
Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help=t("証人の公開鍵 (連署も検証)", "also cosigned by this key"))
]
After = Annotated[int, typer.Option("--from", min=0, help=t("ログのこの件数の後から", "from this size of the log"))]
Upto = Annotated[int | None, typer.Option("--to", min=0, help=t("ログのこの件数まで", "to this size of the log"))]
Since = Annotated[str | None, typer.Option("--since", help=t("この時刻から", "from this time"))]
Until = Annotated[str | None, typer.Option("--until", help=t("この時刻まで", "to this time"))]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help=t("プロセス数 (0 = コア数)", "processes (0 = one a core)"))]
Index = Annotated[bool, typer.Option("--index", help=t("検索用の索引も記録と照合", "compare the index, too"))]


def register(group: typer.Typer) -> None:
    """Add the command to `sekisho audit`."""
    ja, en = "記録が元のままかを検証 (接続不要)", "prove that the trail is what was written, offline"
    shows(group, "verify", ja, en)(verify)


def verify(
    call: Call,
    journal: JournalFolder = None,
    log: LogFolder = None,
    key: KeyFile = None,
    kept: Kept = None,
    since_last: SinceLast = False,
    memory: Memory = None,
    witness: Witnesses = None,
    after: After = 0,
    upto: Upto = None,
    since: Since = None,
    until: Until = None,
    jobs: Jobs = 0,
    index: Index = False,
) -> None:
    """Verify every chain and the tree; names the first bad record."""
    from audit.verify import verify_journals

    files = trail_files(call, journal, log, key)
    if not files.journal.is_dir():
        raise Failure(ExitCode.NOT_FOUND, t(f"{files.journal} がありません。", f"{files.journal} does not exist."))
    verifier = files.verifier()
    known = [opened(read_text(path), path, verifier.past) for path in kept or ()]
    last = LastVerified(memory or state_file("verified", files.log))
    before = last.checkpoint(verifier.past) if since_last else None
    note, now = files.latest() if since_last else ("", None)
    cosigned, said = cosigned_by(files, witness or (), call.now)
    wanted = [*verifier.last_of_each, *known, *cosigned, *(each for each in (before, now) if each is not None)]
    span = _span(call, before or after, upto, since, until)
    with _failures():
        proven = verify_journals(
            files.journal, files.log, verifier, wanted, span=span, jobs=jobs, progress=_progress
        )  # fmt: skip
    _show(call, proven)
    for words in said:
        tell(words)
    if index:
        _compare_index(call, files.journal)
    if since_last:
        last.remember(note)
        tell(_since(before, proven.checkpoint.size if proven.checkpoint else 0))


@contextmanager
def _failures() -> Iterator[None]:
    """Tell what is not as it was written, and a span that the log does not have."""
    from audit.checkpoint import CheckpointInvalid
    from audit.verify import IntegrityError

    try:
        yield
    except (IntegrityError, CheckpointInvalid) as error:
        message = t("記録が元のままではありません。", "the trail is not what was written.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
    except ValueError as error:
        raise Failure(ExitCode.USAGE, str(error)) from error


def _span(call: Call, after: int | Checkpoint, upto: int | None, since: str | None, until: str | None) -> Span:
    from audit.verify import Span

    moments: list[float | None] = []
    for name, text in (("--since", since), ("--until", until)):
        try:
            moments.append(None if text is None else parse_moment(text, call.now))
        except ValueError as error:
            raise Failure(ExitCode.USAGE, f"{name}: {error}") from error
    return Span(after, upto, *moments)


def _show(call: Call, proven: Verified) -> None:
    rows = [
        {"writer": name, "records": proof.records, "epochs": proof.epochs, "segments": proof.segments,
         "removed": proof.removed, "expired": proof.expired, "torn": list(proof.torn)}
        for name, proof in sorted(proven.writers.items())
    ]  # fmt: skip
    call.rows(rows, WRITERS, t("記録はまだありません。", "no records yet."))
    size = proven.checkpoint.size if proven.checkpoint else 0
    tail = age(proven.tail_age(call.now))
    if (proven.first, proven.last) != (0, size):
        tell(t(f"ログの {proven.first} 件目の後から {proven.last} 件目までを検証しました。",
               f"leaves {proven.first} to {proven.last} of the log are proven."))  # fmt: skip
    covered = f"チェックポイントは {size} 件まで、未収録 {proven.tail_records} 件 (最長 {tail})"
    english = f"{proven.records} records proven; checkpoint covers {size}, {proven.tail_records} not yet ({tail})."
    tell(t(f"{proven.records} 件を検証しました。{covered}。", english))


def _compare_index(call: Call, journal: Path) -> None:
    from audit.indexed import verify_index

    with _failures():
        proof = verify_index(journal, call.place.settings().auditor_state / "index")
    tell(t(f"索引の {proof.rows} 件は記録と一致します (保存期間の終わった {proof.expired} 件は照合できません)。",
           f"{proof.rows} rows of the index agree with the journals; {proof.expired} have expired."))  # fmt: skip


def _since(before: Checkpoint | None, size: int) -> str:
    if before is None:
        return t("前回の状態はありません。今回を次回の起点にします。", "nothing yet; the next time starts here.")
    return t(f"前回検証した {before.size} 件はそのままで、{size - before.size} 件増えました。",
             f"the {before.size} of the last time are unchanged, {size - before.size} were added.")  # fmt: skip


def _progress(records: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(t(f"\r{records} 件 …", f"\r{records} records …"))
        sys.stderr.flush()
