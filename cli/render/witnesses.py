"""How the log's witnesses stand, in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cli.language import t
from cli.moments import age

_WORDS: Final = {
    "waiting": ("未照会", "not asked yet"),
    "cosigning": ("連署中", "cosigning"),
    "unreachable": ("応答なし", "does not answer"),
    "unknown": ("鍵を知らない", "does not know our key"),
    "declining": ("拒否", "declines"),
    "false_signature": ("偽の署名", "signs falsely"),
    "rolled_back": ("巻き戻しを指摘", "says that the log was rolled back"),
    "forked": ("分岐を指摘", "says that the log was forked"),
}
_ADVICE: Final = {
    "unreachable": ("証人のサーバーと経路を確認してください。", "look at its server and the way there."),
    "unknown": (
        "証人の --log に今の公開鍵を加えてもらってください (sekisho audit keys ls)。",
        "have the present key added to its --log (sekisho audit keys ls).",
    ),
    "declining": ("証人の側の記録を確認してください。", "look at what the witness says on its side."),
    "false_signature": ("設定の公開鍵と接続先を確認してください。", "check the key and the address in the settings."),
    "rolled_back": (
        "記録が古い状態に戻されています。復元や改ざんがなかったか調べてください (docs/audit-trail.md)。",
        "the log was put back to an earlier state: find out by whom (docs/audit-trail.md).",
    ),
    "forked": (
        "証人が見た記録と今の記録が食い違います。証拠を保全してください (docs/audit-trail.md)。",
        "the log is not the one that the witness saw: keep the evidence (docs/audit-trail.md).",
    ),
}


def shown_witnesses(rows: Sequence[Mapping[str, Any]], now: float) -> str:
    """Return all witnesses in one line."""
    if not rows:
        return t("設定なし", "not set")
    return ", ".join(f"{row['name']}: {_state(row)}{_since(row, now)}" for row in rows)


def witness_troubles(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each witness that does not cosign, and what to do."""
    found = []
    for row in rows:
        if row["state"] in _ADVICE:
            advice = t(*_ADVICE[row["state"]])
            found.append(
                t(f"証人 {row['name']}: {_state(row)} ({row['detail']})。{advice}",
                  f"witness {row['name']}: {_state(row)} ({row['detail']}): {advice}")
            )  # fmt: skip
    return found


def _state(row: Mapping[str, Any]) -> str:
    return t(*_WORDS.get(row["state"], (row["state"], row["state"])))


def _since(row: Mapping[str, Any], now: float) -> str:
    if not row["time"]:
        return ""
    passed = age(max(0.0, now - row["time"]))
    return t(f" ({row['size']} 件まで、{passed}前)", f" (up to {row['size']}, {passed} ago)")
