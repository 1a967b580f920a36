"""`sekisho audit verify` and `sekisho receipts verify`: proofs that need no server and no trust in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.cosignatures import cosigned_by
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.last_verified import LastVerified
from cli.moments import age, shown
from cli.place import state_file
from cli.receipts import opened as opened_receipt
from cli.render.table import Column
from cli.trail_files import JournalFolder, KeyFile, LogFolder, opened, trail_files

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint

audit_group = typer.Typer(no_args_is_help=True, help=t("記録の証明", "proofs of the trail"))
receipts_group = typer.Typer(no_args_is_help=True, help=t("受領証", "receipts"))


def _closed(connections: object) -> str:
    """Live connections that each worker cut."""
    if not isinstance(connections, dict) or not any(connections.values()):
        return t("なし", "none")
    return ", ".join(f"{worker}: {count}" for worker, count in sorted(connections.items()))


RECEIPT = (
    Column("kind", "種類", "kind"),
    Column("who", "実行者", "who"),
    Column("reason", "理由", "reason"),
    Column("targets", "対象", "targets"),
    Column("durable_at", "確定した時刻", "durable at", shown),
    Column("last_ack_at", "全ワーカー完了", "all workers done", shown),
    Column("sessions", "終了したセッション", "ended sessions"),
    Column("closed", "切断した接続", "closed connections", _closed),
    Column("fenced", "停止したワーカー", "fenced workers"),
)
WRITERS = (
    Column("writer", "書き手", "writer", keep=True),
    Column("records", "記録", "records"),
    Column("epochs", "起動", "epochs"),
    Column("segments", "ファイル", "files"),
    Column("expired", "期限で削除", "expired"),
    Column("removed", "上限で削除", "removed"),
    Column("torn", "切れ端", "torn"),
)


@shows(audit_group, "verify", "記録が元のままかを検証 (接続不要)", "prove that the trail is what was written, offline")
def verify(
    call: Call,
    journal: JournalFolder = None,
    log: LogFolder = None,
    key: KeyFile = None,
    kept: Annotated[
        list[Path] | None, typer.Option("--checkpoint", help=t("別に保管したチェックポイント", "kept elsewhere"))
    ] = None,
    since_last: Annotated[
        bool,
        typer.Option("--since-last", help=t("前回からの続きかも検証", "also against the last time")),
    ] = False,
    memory: Annotated[
        Path | None, typer.Option("--memory", help=t("前回の状態を覚えるファイル", "file that remembers the last time"))
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", help=t("証人の公開鍵 (連署も検証)", "also cosigned by this key"))
    ] = None,
) -> None:
    """Verify every chain and the tree; names the first bad record."""
    from audit.checkpoint import CheckpointInvalid
    from audit.verify import IntegrityError, verify_journals

    files = trail_files(call, journal, log, key)
    if not files.journal.is_dir():
        raise Failure(ExitCode.NOT_FOUND, t(f"{files.journal} がありません。", f"{files.journal} does not exist."))
    verifier = files.verifier()
    known = [opened(read_text(path), path, verifier) for path in kept or ()]
    last = LastVerified(memory or state_file("verified", files.log))
    before = last.checkpoint(verifier) if since_last else None
    note, now = files.latest() if since_last else ("", None)
    cosigned, said = cosigned_by(files, witness or (), call.now)
    try:
        wanted = [*verifier.last_of_each, *known, *cosigned, *(each for each in (before, now) if each is not None)]
        proven = verify_journals(files.journal, files.log, verifier, wanted)
    except (IntegrityError, CheckpointInvalid) as error:
        message = t("記録が元のままではありません。", "the trail is not what was written.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
    rows = [
        {"writer": name, "records": proof.records, "epochs": proof.epochs, "segments": proof.segments,
         "expired": proof.expired, "removed": proof.removed, "torn": list(proof.torn)}
        for name, proof in sorted(proven.writers.items())
    ]  # fmt: skip
    call.rows(rows, WRITERS, t("記録はまだありません。", "no records yet."))
    size = proven.checkpoint.size if proven.checkpoint else 0
    tail = age(proven.tail_age(call.now))
    covered = f"チェックポイントは {size} 件まで、未収録 {proven.tail_records} 件 (最長 {tail})"
    english = f"{proven.records} records proven; checkpoint covers {size}, {proven.tail_records} not yet ({tail})."
    tell(t(f"{proven.records} 件を検証しました。{covered}。", english))
    for words in said:
        tell(words)
    if since_last:
        last.remember(note)
        tell(_since(before, size))


def _since(before: Checkpoint | None, size: int) -> str:
    if before is None:
        return t("前回の状態はありません。今回を次回の起点にします。", "nothing yet; the next time starts here.")
    return t(f"前回検証した {before.size} 件はそのままで、{size - before.size} 件増えました。",
             f"the {before.size} of the last time are unchanged, {size - before.size} were added.")  # fmt: skip


@shows(receipts_group, "verify", "受領証の署名を検証 (接続不要)", "verify a signed receipt, offline")
def verify_receipt(
    call: Call, file: Annotated[Path, typer.Argument(help=t("受領証", "receipt"))], key: KeyFile = None
) -> None:
    """Verify a receipt."""
    from dataclasses import asdict

    receipt = opened_receipt(file, key or call.place.settings().paths.keys / "receipts.pub")
    tell(t("署名は正しいです。", "the signature is good."))
    row = asdict(receipt)
    if call.output is Output.TABLE and not call.fields:
        row.pop("checkpoint")
    call.one(row, RECEIPT)
