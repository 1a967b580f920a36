"""`sekisho audit keys`: the succession of the log's keys, offline; a rotation by the auditor; a key after a loss."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.call import Call, tell
from cli.command import changes, lists
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import shown
from cli.render.table import Column
from cli.trail_files import KeyFile, LogFolder, trail_files

if TYPE_CHECKING:
    from audit.checkpoint import Verifier

group = typer.Typer(no_args_is_help=True, help=t("チェックポイントの署名鍵", "the keys that sign checkpoints"))

_KINDS = {
    "rotated": ("交換 (旧鍵が承認)", "rotated, named by the key before"),
    "replaced": ("紛失後の再作成 (別途確認が必要)", "replaced after a loss: to be trusted apart"),
    "first": ("最初", "first"),
}


def _until(size: object) -> str:
    return t("使用中", "in use") if size is None else str(size)


KEYS = (
    Column("key", "公開鍵", "verifier key", keep=True),
    Column("since", "始まり", "how it came", lambda kind: t(*_KINDS[str(kind)])),
    Column("until", "最後の署名 (件数)", "last signed size", _until),
    Column("at", "交換した時刻", "given up at", shown),
    Column("who", "実行者", "who"),
    Column("reason", "理由", "reason"),
)
PLAN = (Column("old", "今の鍵", "present key"),)


@lists(group, "ls", "鍵の一覧と引き継ぎ (接続不要)", "keys and their succession, offline")
def ls(call: Call, log: LogFolder = None, key: KeyFile = None) -> None:
    """List the keys that signed this log; each link between them is proved."""
    keys = trail_files(call, Path(), log, key).verifier()
    rows: list[dict[str, Any]] = []
    since = "first"
    for link in (*keys.before, *keys.after):
        rows.append({
            "key": link.old.encode(), "since": since, "until": link.last.size, "at": link.record.get("@timestamp"),
            "who": link.record.get("sekisho.by"), "reason": link.record.get("sekisho.justification"),
        })  # fmt: skip
        since = "rotated" if link.proved else "replaced"
    present = {"key": keys.present.encode(), "since": since, "until": None, "at": None, "who": None, "reason": None}
    rows.append(present)
    call.rows(rows, KEYS, "")


@changes(group, "rotate", "新しい鍵に交換 (交換自体がログに残る)", "a new key; the rotation stands in the log")
def rotate(call: Call) -> None:
    """Have the auditor give its key up for a new one."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/audit/keys/rotate", shared)

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        words = f"{rows[0]['old']} を新しい鍵に交換します。元には戻せません。"
        return t(words, f"{rows[0]['old']} is given up for a new key, for good."), "rotate"

    answer = carry_out(call, send, PLAN, question)
    if answer is None:
        return
    call.one({name: answer[name] for name in ("old", "new", "size")})
    tell(t("新しい公開鍵を証人と監査人に渡してください。古い鍵でも、ログの rotations/ があれば検証できます。",
           "give witnesses and auditors the new key; with rotations/ the old one verifies."))  # fmt: skip


@changes(group, "lost", "鍵を失ったあとの再作成 (監査人の信頼は別途)", "after a loss: a key to be trusted anew")
def lost(call: Call, log: LogFolder = None, key: KeyFile = None) -> None:
    """Make a key with another origin; on the gateway's machine, while the auditor does not run."""
    if log is None or key is None:
        paths = call.place.settings().paths
        log, key = log or paths.log, key or paths.keys / "checkpoint.key"
    if call.dry_run:
        tell(t(f"{key} を作り直します。", f"{key} would be made anew."))
        return
    made = _made_anew(key, log, call)
    call.one({"new": made.encode()})
    tell(t("古い公開鍵を持つ人は、この鍵を別の確かな経路で受け取るまで検証できません。",
           "who holds the old key cannot verify until they get this one in a way that they trust."))  # fmt: skip


def _made_anew(key: Path, log: Path, call: Call) -> Verifier:
    from audit.auditor import LogLocked
    from audit.checkpoint import CheckpointInvalid
    from audit.lost_key import NotLost, replace_lost

    try:
        return replace_lost(key, log, getpass.getuser(), call.reason, call.now)
    except NotLost as error:
        words = t("鍵は失われていません。audit keys rotate を使ってください。", "the key is not lost: rotate it.")
        raise Failure(ExitCode.CONFLICT, words, [str(error)]) from error
    except LogLocked as error:
        words = t("auditor が動いています。止めてから行ってください。", "the auditor runs: stop it first.")
        raise Failure(ExitCode.CONFLICT, words, [str(error)]) from error
    except CheckpointInvalid as error:
        words = t("公開鍵とチェックポイントが合いません。", "the public key does not open the checkpoint.")
        raise Failure(ExitCode.INTEGRITY, words, [str(error)]) from error
    except (OSError, ValueError) as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
