"""`sekisho audit checkpoints` and `consistency`: the signed states of the log, and that one continues another."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.call import Call, tell
from cli.command import lists, shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.moments import shown
from cli.render.table import Column
from cli.trail_files import KeyFile, LogFolder, TrailFiles, opened, trail_files

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint
    from audit.tiles import Tiles

ISSUED = (
    Column("at", "時刻", "time", shown),
    Column("size", "件数", "size", keep=True),
    Column("root", "根", "root"),
    Column("signed_by", "署名", "signed by"),
)
CONSISTENT = (
    Column("old_size", "前の件数", "old size"),
    Column("old_root", "前の根", "old root"),
    Column("new_size", "後の件数", "new size"),
    Column("new_root", "後の根", "new root"),
    Column("path", "証明", "proof"),
)


def register(group: typer.Typer) -> None:
    """Add the commands to `sekisho audit`."""
    lists(group, "checkpoints", "署名済みのチェックポイント (新しい順)", "signed checkpoints")(checkpoints)
    shows(
        group, "consistency", "前の状態に追記だけをして後の状態になったことを証明", "prove that A was only appended to"
    )(consistency)


def checkpoints(call: Call, log: LogFolder = None, key: KeyFile = None) -> None:
    """List the latest checkpoint and those kept of the past; each signature is verified."""
    from audit.checkpoint import CheckpointInvalid
    from audit.issued import issued, signed_by

    files = trail_files(call, Path(), log, key)
    verifier = files.verifier()
    note, latest = files.latest()
    rows = [{"at": (files.log / "checkpoint").stat().st_mtime, "size": latest.size, "root": latest.root.hex(),
             "signed_by": signed_by(note), "note": note}]  # fmt: skip
    for each in issued(files.log):
        try:
            past = verifier.past.open(each.note)
        except CheckpointInvalid as error:
            message = t(f"{shown(each.at)} のチェックポイントの署名が正しくありません。",
                        f"the checkpoint of {shown(each.at)} does not verify.")  # fmt: skip
            raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
        if past != latest:
            rows.append({"at": each.at, "size": past.size, "root": past.root.hex(), "signed_by": signed_by(each.note),
                         "note": each.note})  # fmt: skip
    rows.sort(key=lambda row: (row["size"], row["at"]), reverse=True)
    call.rows(rows[: call.limit], ISSUED, "", total=len(rows))


def consistency(
    call: Call,
    old: Annotated[str, typer.Argument(metavar="A", help=t("前のチェックポイントのファイルか件数", "file or size"))],
    new: Annotated[
        str, typer.Argument(metavar="[B]", help=t("後の (既定は最新)", "file or size; the latest by default"))
    ] = "",
    log: LogFolder = None,
    key: KeyFile = None,
) -> None:
    """Prove from the tiles that the tree of A is the start of the tree of B, and that both are of the signed log."""
    from audit.log import LogDamaged
    from audit.merkle import ProofInvalid
    from audit.proof import check_consistency
    from audit.tiles import Tiles

    files = trail_files(call, Path(), log, key)
    _, latest = files.latest()
    tiles = Tiles(files.log, latest.size)
    try:
        first = _state(old, files, tiles, latest)
        second = _state(new, files, tiles, latest) if new else latest
        path = check_consistency(tiles, first, second)
        check_consistency(tiles, second, latest)
    except (ProofInvalid, LogDamaged) as error:
        message = t(f"{old} は {new or '最新'} に続いていません。", f"{new or 'the latest'} does not continue {old}.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
    row: dict[str, Any] = {
        "old_size": first.size, "old_root": first.root.hex(), "new_size": second.size, "new_root": second.root.hex(),
        "path": [base64.b64encode(node).decode() for node in path],
    }  # fmt: skip
    call.one(row, CONSISTENT)
    tell(t(f"{first.size} 件の状態はそのままで、{second.size - first.size} 件が追記されました。",
           f"the {first.size} are unchanged, {second.size - first.size} were appended."))  # fmt: skip


def _state(given: str, files: TrailFiles, tiles: Tiles, latest: Checkpoint) -> Checkpoint:
    """The checkpoint in a file, or the state that the log's own tiles give at a size.

    Raises ProofInvalid for one that the log has not reached: what was signed is not there any more.
    """
    from audit.checkpoint import Checkpoint
    from audit.merkle import ProofInvalid

    if given.isdecimal() and not Path(given).exists():
        size = int(given)
        if size > latest.size:
            message = t(f"ログは {latest.size} 件までです。", f"the log has {latest.size} records.")
            raise Failure(ExitCode.USAGE, message)
        return Checkpoint(latest.origin, size, tiles.root(0, size))
    state = opened(read_text(Path(given)), Path(given), files.verifier().past)
    if state.size > latest.size:
        raise ProofInvalid(f"size: got {latest.size}, expected {state.size} or more: the log was rolled back")
    return state
