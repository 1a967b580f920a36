"""`sekisho audit proof` and `verify-proof`: one record, proven to whoever has the public key, without us."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.private_file import write_private
from cli.render.table import Column
from cli.trail_files import JournalFolder, KeyFile, LogFolder, TrailFiles, key_in, succession_told, trail_files

if TYPE_CHECKING:
    from audit.proof import Proof
    from audit.rotation import Succession
    from audit.scan import RawLine

Handover = Annotated[
    list[Path] | None,
    typer.Option("--handover", help=t("鍵の交換の証明", "the rotations' proofs")),
]
_ROTATED: Final = (
    "新しい鍵の署名なら鍵の交換の証明 (ログの rotations/) を --handover に、前の鍵の署名ならその公開鍵を --key に。",
    "signed by a newer key: give the rotation's proof (rotations/) by --handover; by an older one: give it by --key.",
)
_WAIT: Final = 15.0  # seconds for the next checkpoint: one comes at the latest 10 s after a record
_LOOK: Final = 0.5
MADE = (
    Column("id", "記録", "record", keep=True),
    Column("file", "証明ファイル", "proof file", keep=True),
    Column("index", "番号", "index"),
    Column("size", "チェックポイント", "checkpoint"),
)
PROVEN = (
    Column("id", "記録", "record"),
    Column("time", "時刻", "time"),
    Column("action", "出来事", "action"),
    Column("index", "番号", "index"),
    Column("size", "チェックポイント", "checkpoint"),
    Column("signed_by", "署名", "signed by"),
    Column("cosignatures", "連署 (未確認)", "cosigned by (not checked)"),
    Column("record", "記録の内容", "what it says"),
)


def register(group: typer.Typer) -> None:
    """Add the commands to `sekisho audit`."""
    shows(group, "proof", "記録1件の証明ファイルを作る (接続不要)", "make the proof of one record, offline")(proof)
    shows(group, "verify-proof", "証明ファイルを公開鍵だけで検証", "verify proofs by the public key")(verify_proof)


def proof(
    call: Call,
    event: Annotated[str, typer.Argument(help=t("記録の番号 writer:epoch:seq か受付番号", "event id or reference"))],
    out: Annotated[Path | None, typer.Option("--out", "-O", help=t("証明ファイルの名前", "name of the file"))] = None,
    journal: JournalFolder = None,
    log: LogFolder = None,
    key: KeyFile = None,
) -> None:
    """Write one proof a record: a request has two, its decision and its completion."""
    from audit.originals import originals

    files = trail_files(call, journal, log, key)
    lines = originals(files.journal, event)
    if not lines:
        raise Failure(ExitCode.NOT_FOUND, t(f"記録 {event} は見つかりません。", f"no record {event}."))
    with _integrity(event):
        proofs = _proofs(files, lines)
    rows = []
    for raw, made, size in proofs:
        path = _named(out, raw.id, alone=len(proofs) == 1)
        write_private(path, made.encode(), replace=False)
        rows.append({"id": raw.id, "file": str(path), "index": made.index, "size": size})
    call.rows(rows, MADE, "")
    tell(t("確認: sekisho audit verify-proof ファイル --key checkpoint.pub (接続不要)",
           "check: sekisho audit verify-proof FILE --key checkpoint.pub, offline"))  # fmt: skip


def verify_proof(
    call: Call,
    file: Annotated[list[Path], typer.Argument(help=t("証明ファイル (複数可)", "proof files"))],
    key: KeyFile = None,
    handover: Handover = None,
) -> None:
    """Verify record → entry → leaf → root → signature, by the key or one that followed it."""
    from audit.issued import signed_by
    from audit.merkle import ProofInvalid
    from audit.proof import ProofUnsigned, read_proof
    from audit.proof import verify_proof as verified

    keys = _keys(call, key, handover or [])
    rows: list[dict[str, Any]] = []
    for path in file:
        try:
            read = read_proof(read_text(path))
            proven = verified(read, keys)
        except ProofUnsigned as error:
            message = t(f"{path}: 知っている鍵の署名がありません。", f"{path}: not signed by a key that is known.")
            raise Failure(ExitCode.INTEGRITY, message, [str(error), t(*_ROTATED)]) from error
        except ProofInvalid as error:
            message = t(f"{path}: 証明が成り立ちません。", f"{path}: the proof does not hold.")
            raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
        record = {name: value for name, value in proven.record.items() if name not in ("v", "prev")}
        rows.append({
            "id": proven.id, "time": record.get("@timestamp"), "action": record.get("event.action"),
            "index": proven.index, "size": proven.checkpoint.size, "signed_by": proven.checkpoint.origin,
            "cosignatures": [name for name in signed_by(read.checkpoint) if name != proven.checkpoint.origin],
            "record": record,
        })  # fmt: skip
    if call.output is Output.TABLE:
        for row in rows:
            call.one(row, PROVEN)
    else:
        call.rows(rows, PROVEN, "")
    tell(t(f"証明 {len(rows)} 件は正しいです。", f"{len(rows)} proofs hold."))


def _keys(call: Call, key: Path | None, handovers: list[Path]) -> Succession:
    """The given key, or the installation's, and the keys that handovers lead to from it; raises Failure."""
    from audit.rotation import led, read_handover

    held = key_in(key or call.place.settings().paths.keys / "checkpoint.pub")
    with succession_told():
        return led(held, [read_handover(read_text(path)) for path in handovers])


def _proofs(files: TrailFiles, lines: list[RawLine]) -> list[tuple[RawLine, Proof, int]]:
    """Each line, its proof and the size of the checkpoint; waits for the checkpoint that covers the newest."""
    from audit.places import index_of
    from audit.proof import entry_of, prove
    from audit.tiles import Tiles

    entries = [entry_of(raw.line) for raw in lines]
    until = time.monotonic() + _WAIT
    while True:
        note, checkpoint = files.latest()
        tiles = Tiles(files.log, checkpoint.size)
        last = time.monotonic() >= until
        found = [index_of(tiles, raw.writer, raw.position, entry, thorough=last)
                 for raw, entry in zip(lines, entries, strict=True)]  # fmt: skip
        indices = [index for index in found if index is not None]
        if len(indices) == len(lines):
            return [(raw, prove(tiles, raw.line, index, note, checkpoint), checkpoint.size)
                    for raw, index in zip(lines, indices, strict=True)]  # fmt: skip
        if last:
            missing = ", ".join(raw.id for raw, index in zip(lines, found, strict=True) if index is None)
            message = t(f"{missing} はどのチェックポイントにもまだ含まれていません。auditor は動いていますか。",
                        f"no checkpoint covers {missing} yet; is the auditor running?")  # fmt: skip
            raise Failure(ExitCode.FAILED, message)
        time.sleep(_LOOK)


def _named(out: Path | None, name: str, *, alone: bool) -> Path:
    """The file of one proof; without colons, which Windows does not allow."""
    from audit.proof import SUFFIX

    safe = name.replace(":", "-")
    if out is None:
        return Path(safe + SUFFIX)
    return out if alone else out.with_name(f"{out.name.removesuffix(SUFFIX)}.{safe}{SUFFIX}")


@contextmanager
def _integrity(event: str) -> Iterator[None]:
    from audit.log import LogDamaged
    from audit.merkle import ProofInvalid
    from audit.segment import LineFault

    try:
        yield
    except (LogDamaged, ProofInvalid, LineFault) as error:
        message = t(f"記録 {event} を証明できません。sekisho audit verify で調べてください。",
                    f"{event} cannot be proven; sekisho audit verify tells more.")  # fmt: skip
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
