"""The groups of proofs that need no server and no trust in it, and `sekisho receipts verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.language import t
from cli.moments import shown
from cli.receipts import opened as opened_receipt
from cli.render.table import Column
from cli.trail_files import KeyFile

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
