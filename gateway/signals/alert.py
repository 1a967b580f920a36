"""What the system tells people on its own: which records are alerts, and in which words.

Pure. An alert names one matter by its `key`, so that the same matter is not told again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class AlertKind(StrEnum):
    """The matters that people are told of."""

    JOURNAL_UNHEALTHY = "journal_unhealthy"
    WORKER_FENCED = "worker_fenced"
    MDM_STALE = "mdm_stale"
    CASE_OPENED = "case_opened"
    CLOCK_JUMPED = "clock_jumped"
    TRAIL_REFUSED = "trail_refused"
    DISK_FILLING = "disk_filling"
    CERTIFICATE_REFUSED = "certificate_refused"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    CRL_REFUSED = "crl_refused"
    CRL_STALE = "crl_stale"
    TEST = "test"


TITLES: Mapping[AlertKind, str] = {
    AlertKind.JOURNAL_UNHEALTHY: "記録(ジャーナル)に欠けが生じました",
    AlertKind.WORKER_FENCED: "応答しない処理を停止しました",
    AlertKind.MDM_STALE: "端末管理(MDM)から情報を取得できません",
    AlertKind.CASE_OPENED: "確認が必要な事案があります",
    AlertKind.CLOCK_JUMPED: "時計が大きく進みました",
    AlertKind.TRAIL_REFUSED: "監査記録に整合しない内容があります",
    AlertKind.DISK_FILLING: "記録のディスクの空きが少なくなっています",
    AlertKind.CERTIFICATE_REFUSED: "新しいサーバー証明書を使えません",
    AlertKind.CERTIFICATE_EXPIRING: "サーバー証明書の期限が近づいています",
    AlertKind.CRL_REFUSED: "新しい失効リスト(CRL)を使えません",
    AlertKind.CRL_STALE: "失効リスト(CRL)がないか、期限を過ぎています",
    AlertKind.TEST: "通知の試験です",
}

NEXT_STEPS: Mapping[AlertKind, str] = {
    AlertKind.JOURNAL_UNHEALTHY: "sekisho status で空き容量を確かめてください。回復まで該当の処理は通信を拒否します。",
    AlertKind.WORKER_FENCED: "sekisho status を確かめてください。処理は自動で立て直されています。",
    AlertKind.MDM_STALE: "端末管理の接続と資格情報を確かめてください。最後に得た情報は、方針が許す間だけ使われます。",
    AlertKind.CASE_OPENED: "sekisho anomalies ls で内容を確かめてください。",
    AlertKind.CLOCK_JUMPED: "時刻の同期を確かめてください。受け入れるまで新しい通信は拒否されます。",
    AlertKind.TRAIL_REFUSED: "sekisho audit verify を実行し、結果を保管してください。",
    AlertKind.DISK_FILLING: "空きを増やしてください。減り続けると、職員の要求、サインインと管理の順に止まります。",
    AlertKind.CERTIFICATE_REFUSED: "証明書と鍵のファイルを直してください。それまでは前の証明書を使い続けます。",
    AlertKind.CERTIFICATE_EXPIRING: "新しい証明書と鍵を同じ場所に置いてください。再起動なしで使われます。",
    AlertKind.CRL_REFUSED: "リストのファイルを確かめてください。それまでは前のリストで判定します。",
    AlertKind.CRL_STALE: "リストの取得を確かめてください。sekisho devices crl ls で状態を見られます。",
    AlertKind.TEST: "この通知が届けば、設定は正しく働いています。",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One message. `detail` holds facts of the record, never a secret: records hold none."""

    kind: AlertKind
    key: str
    at: str  # RFC 3339
    detail: str
    event_id: str  # of the record it comes from, "" for a test

    @property
    def title(self) -> str:
        """The matter in one line."""
        return TITLES[self.kind]

    @property
    def text(self) -> str:
        """The whole message."""
        lines = [self.title, "", f"時刻: {self.at}"]
        if self.detail:
            lines.append(f"内容: {self.detail}")
        if self.event_id:
            lines.append(f"記録: {self.event_id}(sekisho events show {self.event_id})")
        lines += ["", NEXT_STEPS[self.kind], "", "このメッセージは関所(Sekisho)が自動で送りました。"]
        return "\n".join(lines)


MDM_FAILURES_BEFORE_ALERT = 3

ACTIONS = (
    "audit.gap",
    "worker.fenced",
    "posture.failed",
    "case.opened",
    "clock.jumped",
    "audit.refused",
    "disk.filling",
    "certificate.refused",
    "certificate.expiring",
    "crl.refused",
    "crl.stale",
)
"""The acts whose records may call for an alert."""


def alert_of(record: Mapping[str, Any]) -> Alert | None:
    """Return the alert that one record calls for, or None."""
    match record.get("event.action"):
        case "audit.gap":
            # `event.id` is writer:epoch:seq
            kind, key = AlertKind.JOURNAL_UNHEALTHY, str(record.get("event.id", "")).rsplit(":", 2)[0]
            detail = f"{key}: 拒否 {record.get('sekisho.gap.refused', 0)} 件、{record.get('sekisho.gap.reason', '')}"
        case "worker.fenced":
            kind, key = AlertKind.WORKER_FENCED, str(record.get("sekisho.worker", record.get("sekisho.slot", "")))
            detail = str(record.get("sekisho.reason", "")) or key
        case "posture.failed":
            count = record.get("sekisho.count", 0)
            if not isinstance(count, int) or count < MDM_FAILURES_BEFORE_ALERT:
                return None
            kind, key = AlertKind.MDM_STALE, str(record.get("sekisho.posture.source", ""))
            detail = f"{key}: 続けて {count} 回失敗({record.get('error.code', '')})"
        case "case.opened":
            kind, key = AlertKind.CASE_OPENED, str(record.get("sekisho.case.id", ""))
            detail = str(record.get("message", ""))
        case "clock.jumped":
            kind, key = AlertKind.CLOCK_JUMPED, "clock"
            detail = f"{record.get('sekisho.clock.jump_seconds', '')} 秒"
        case "audit.refused":
            kind, key = AlertKind.TRAIL_REFUSED, str(record.get("sekisho.log.writer", ""))
            detail = str(record.get("error.message", ""))
        case "disk.filling":
            limited = "、".join(map(str, record.get("sekisho.disk.limited", ())))
            kind, key = AlertKind.DISK_FILLING, limited or "alarm"
            detail = f"使用率 {record.get('sekisho.disk.used_percent', '')} %" + (
                f"、制限中: {limited}" if limited else ""
            )
        case "certificate.refused" | "certificate.expiring" as act:
            kind, key = AlertKind(act.replace(".", "_")), str(record.get("sekisho.listener", ""))
            detail = f"{key}: {record.get('error.message', '') or record.get('message', '')}"
        case "crl.refused" | "crl.stale" as act:
            kind, key = AlertKind(act.replace(".", "_")), str(record.get("sekisho.crl.authority", ""))
            detail = f"{key}: {record.get('error.message', '')}"
        case _:
            return None
    return Alert(
        kind, f"{kind.value}:{key}", str(record.get("@timestamp", "")), detail, str(record.get("event.id", ""))
    )
