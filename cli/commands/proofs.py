"""`sekisho audit verify` and `sekisho receipts verify`: proofs that need no server and no trust in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.moments import age, shown
from cli.receipts import opened
from cli.render.table import Column

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
    Column("removed", "削除", "removed"),
    Column("torn", "切れ端", "torn"),
)
KeyFile = Annotated[Path | None, typer.Option("--key", help=t("公開鍵 (既定は設定の場所)", "public key"))]


@shows(audit_group, "verify", "記録が元のままかを検証 (接続不要)", "prove that the trail is what was written, offline")
def verify(
    call: Call,
    journal: Annotated[Path | None, typer.Option("--journal", help=t("記録の場所", "journal folder"))] = None,
    log: Annotated[Path | None, typer.Option("--log", help=t("Merkle ログの場所", "log folder"))] = None,
    key: KeyFile = None,
    kept: Annotated[
        list[Path] | None, typer.Option("--checkpoint", help=t("別に保管したチェックポイント", "kept elsewhere"))
    ] = None,
) -> None:
    """Verify every chain and the tree; names the first bad record."""
    from audit.checkpoint import CheckpointInvalid, read_verifier
    from audit.verify import IntegrityError, verify_journals

    if journal is None or key is None:
        settings = call.place.settings()
        journal = journal or settings.paths.journal
        log = log or settings.paths.log
        key = key or settings.paths.keys / "checkpoint.pub"
    if not journal.is_dir():
        raise Failure(ExitCode.NOT_FOUND, t(f"{journal} がありません。", f"{journal} does not exist."))
    try:
        verifier = read_verifier(read_text(key).strip())
        proven = verify_journals(journal, log, verifier, [verifier.open(read_text(path)) for path in kept or ()])
    except (IntegrityError, CheckpointInvalid) as error:
        message = t("記録が元のままではありません。", "the trail is not what was written.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
    except ValueError as error:
        raise Failure(ExitCode.FAILED, f"{key}: {error}") from error
    rows = [
        {"writer": name, "records": proof.records, "epochs": proof.epochs, "segments": proof.segments,
         "removed": proof.removed, "torn": list(proof.torn)}
        for name, proof in sorted(proven.writers.items())
    ]  # fmt: skip
    call.rows(rows, WRITERS, t("記録はまだありません。", "no records yet."))
    size = proven.checkpoint.size if proven.checkpoint else 0
    tail = age(proven.tail_age(call.now))
    covered = f"チェックポイントは {size} 件まで、未収録 {proven.tail_records} 件 (最長 {tail})"
    english = f"{proven.records} records proven; checkpoint covers {size}, {proven.tail_records} not yet ({tail})."
    tell(t(f"{proven.records} 件を検証しました。{covered}。", english))


@shows(receipts_group, "verify", "受領証の署名を検証 (接続不要)", "verify a signed receipt, offline")
def verify_receipt(
    call: Call, file: Annotated[Path, typer.Argument(help=t("受領証", "receipt"))], key: KeyFile = None
) -> None:
    """Verify a receipt."""
    from dataclasses import asdict

    receipt = opened(file, key or call.place.settings().paths.keys / "receipts.pub")
    tell(t("署名は正しいです。", "the signature is good."))
    row = asdict(receipt)
    if call.output is Output.TABLE and not call.fields:
        row.pop("checkpoint")
    call.one(row, RECEIPT)
