"""Gaps and contradictions in the trail itself: each is an event of its own, and here a case.

Where a gap can arise, and which record tells of it:
- in a journal: a record that does not continue its chain, an epoch that does not cite its predecessor, a file that is
  gone. The auditor covers that journal no further and records `audit.refused`.
- at a writer: its journal failed, and records it had acknowledged did not survive: `audit.gap` with `lost` above 0.
  A gap without loss is an outage (nobody passed unrecorded), of which the alerts tell.
- in the copy: numbers that are missing, documents that were changed or that no journal knows: `copy.differs`,
  written by whoever compared it with the journals.
- in the log: a witness that saw another or a larger tree (`audit.witness`), a key that no earlier one named
  (`audit.key_replaced`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from audit.detect.signal import Kind, Seen, Severity, Signal
from audit.witnesses import ALARMING

_NAMED: Final = 5  # gaps or ids in a message


class Gaps:
    """Finds losses and contradictions. Remembers nothing: each is told whole by one record."""

    def snapshot(self) -> Any:
        """Return the state as JSON values."""
        return []

    def restore(self, saved: Any) -> None:
        """Go on from `snapshot`'s value."""

    def take(self, seen: Seen) -> Iterator[Signal]:
        """Look at one record."""
        match seen.record.get("event.action"):
            case "audit.refused":
                yield _refused(seen)
            case "audit.gap" if _count(seen, "sekisho.gap.lost") > 0:
                yield _lost(seen)
            case "audit.not_kept":
                yield _not_kept(seen)
            case "copy.differs":
                yield _differs(seen)
            case "audit.witness" if seen.text("sekisho.witness.state") in ALARMING:
                yield _contradicted(seen)
            case "audit.key_replaced":
                yield _replaced(seen)
            case _:
                return


def _refused(seen: Seen) -> Signal:
    writer = seen.text("sekisho.log.writer")
    words = (
        f"{writer} の記録が元の連鎖につながりません({seen.text('error.message')})。改ざん・破損・ファイルの消失の可能性"
        "があり、ここから先の記録は署名の対象から外れています。ファイルに触れず、別の場所に保管した"
        "チェックポイントと照合してください。"
    )
    return _signal(Kind.TRAIL_BROKEN, Severity.HIGH, f"journal:{writer}", seen, words, "sekisho audit verify")


def _contradicted(seen: Seen) -> Signal:
    name = seen.text("sekisho.witness.name")
    words = (
        f"証人 {name} の見た記録が、ここにある記録と食い違います({seen.text('error.message')})。記録が古い状態に"
        "戻された、作り直された、または署名鍵が別の場所で使われた可能性があります。ファイルに触れず、証人の側の証拠"
        "(witness ls)と照合してください。"
    )
    return _signal(Kind.LOG_CONTRADICTED, Severity.HIGH, f"witness:{name}", seen, words, "sekisho audit verify")


def _replaced(seen: Seen) -> Signal:
    words = (
        "チェックポイントの署名鍵が、以前の鍵の承認なしに作り直されました"
        f"(実行者 {seen.text('sekisho.by')}、理由: {seen.text('sekisho.justification')})。心当たりがなければ、"
        "署名鍵のある機械への侵入を疑ってください。監査人には新しい公開鍵を確かな経路で渡す必要があります。"
    )
    return _signal(Kind.LOG_CONTRADICTED, Severity.HIGH, "key", seen, words, "sekisho audit keys ls")


def _not_kept(seen: Seen) -> Signal:
    words = (
        f"記録の圧縮または期限の来た記録の削除を見合わせました({seen.text('error.message')})。記録は残っています。"
        "時計・保全の一覧・記録のファイルを確かめてください。"
    )
    return _signal(Kind.NOT_KEPT, Severity.MEDIUM, "keeping", seen, words, "sekisho audit retention")


def _lost(seen: Seen) -> Signal:
    writer, lost = seen.id.split(":")[0], _count(seen, "sekisho.gap.lost")
    words = (
        f"{writer}: 書き込みの障害で、保存済みと扱った記録 {lost} 件が失われました"
        f"({seen.text('sekisho.gap.reason') or '理由不明'})。記録のない通信があります。ディスクを調べ、"
        "アプリ側の記録と突き合わせてください。"
    )
    command = f"sekisho events show {seen.id}"
    return _signal(Kind.RECORDS_LOST, Severity.HIGH, f"journal:{writer}", seen, words, command)


def _differs(seen: Seen) -> Signal:
    kind, severity, words, command = _DIFFERENCES.get(seen.text("sekisho.reconcile.kind"), _CHANGED)
    which = [*(seen.record.get("sekisho.reconcile.gaps") or seen.record.get("sekisho.reconcile.names") or ())]
    more = " ほか" if len(which) > _NAMED else ""
    since, until = seen.text("sekisho.reconcile.since"), seen.text("sekisho.reconcile.until")
    told = words.format(count=_count(seen, "sekisho.count"), which=", ".join(map(str, which[:_NAMED])) + more)
    if sent := _count(seen, "sekisho.reconcile.sent"):
        told += f"{sent} 件は送り直しました。"
    return _signal(kind, severity, "copy:elasticsearch", seen, told, command.format(since=since, until=until))


def _signal(kind: Kind, severity: Severity, subject: str, seen: Seen, words: str, command: str) -> Signal:
    return Signal(kind, severity, subject, seen.at, (seen.id,), words, command, (subject,))


def _count(seen: Seen, name: str) -> int:
    value = seen.record.get(name)
    return value if isinstance(value, int) else 0


_Difference = tuple[Kind, Severity, str, str]
_AGAIN: Final = "sekisho es reconcile --since {since} --until {until}"
_CHANGED: Final[_Difference] = (
    Kind.COPY_CHANGED, Severity.HIGH,
    ("Elasticsearch の複製 {count} 件が元の記録と異なります({which})。管理者の権限で書き換えられた可能性があります。"
    "正しいのは手元の記録です。Elasticsearch の管理者の操作を調べてください。"), _AGAIN,
)  # fmt: skip
_DIFFERENCES: Final[Mapping[str, _Difference]] = {
    "missing": (
        Kind.COPY_LACKS, Severity.MEDIUM,
        ("Elasticsearch の複製に {count} 件の欠けがあります({which})。索引の削除や古い状態への復元が考えられます。"
        "元の記録は手元にあります。"), _AGAIN + " --repair --reason '欠けの送り直し'",
    ),
    "changed": _CHANGED,
    "twice": (
        Kind.COPY_DOUBLED, Severity.MEDIUM,
        "Elasticsearch の複製 {count} 件が二つの索引に重複しています({which})。索引の件数や集計が実際より多く出ます。",
        _AGAIN,
    ),
    "foreign": (
        Kind.COPY_FOREIGN, Severity.HIGH,
        ("Elasticsearch の複製に、どの記録にも由来しない文書が {count} 件あります({which})。"
        "偽の記録が書き込まれた可能性があります。書き込み用の鍵を作り直してください。"), _AGAIN,
    ),
    "checkpoint": (
        Kind.LOG_CONTRADICTED, Severity.HIGH,
        ("Elasticsearch に保管された署名済みチェックポイント {count} 件に、手元のログが続いていません({which})。"
        "手元の記録が切り詰められたか、すり替えられた可能性があります。ファイルに触れず、検証してください。"),
        "sekisho audit verify",
    ),
    "unreadable": (
        Kind.TRAIL_BROKEN, Severity.HIGH,
        "記録の連鎖が途切れていて、Elasticsearch の複製と照合できません({which})。", "sekisho audit verify",
    ),
}  # fmt: skip
