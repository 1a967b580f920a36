"""What a CISO looks at in Kibana: dashboards and saved searches over the copy of the trail. One table, nothing else.

Ids are never changed: importing again replaces what is there, and links stay good. Every field is one of the records
(`audit.ecs`). Which apps hold information of 機密性3 is the installation's own: their ids are asked for. The shapes of
Kibana are in `audit.kibana`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from audit.event import Action
from audit.kibana import Board, Measure, Panel, Search, Shape, Where

LABELS: Final[Mapping[str, str]] = {
    "@timestamp": "時刻", "event.action": "出来事", "event.outcome": "結果", "event.dataset": "記録の種類",
    "user.name": "職員ID", "user.roles": "役割", "user.target.name": "対象の職員", "source.ip": "接続元",
    "url.domain": "ホスト", "url.path": "パス", "http.request.method": "メソッド", "http.request.id": "受付番号",
    "http.response.status_code": "応答", "user_agent.original": "ブラウザ", "device.id": "端末",
    "rule.id": "規則", "message": "内容", "process.name": "プロセス", "error.message": "障害",
    "sekisho.reason": "理由", "sekisho.verdict": "判定", "sekisho.app.id": "業務", "sekisho.zone": "場所",
    "sekisho.by": "実行者", "sekisho.justification": "実行の理由", "sekisho.session.id": "セッション",
    "sekisho.session.amr": "認証手段", "sekisho.factor.kind": "認証要素", "sekisho.lock.target": "ロックの対象",
    "sekisho.device.name": "端末名", "sekisho.device.compliant": "準拠", "sekisho.device.failing": "満たさない条件",
    "sekisho.posture.source": "端末管理", "sekisho.posture.unreadable": "読めない端末",
    "sekisho.case.id": "事案", "sekisho.case.severity": "重さ", "sekisho.finding.kind": "異常の種類",
    "sekisho.finding.subject": "異常の対象", "sekisho.finding.command": "次の操作",
    "sekisho.journal.writer": "書き手", "sekisho.journal.seq": "通し番号", "sekisho.log.size": "署名済みの件数",
    "sekisho.log.writer": "対象の書き手", "sekisho.gap.lost": "失われた件数", "sekisho.gap.refused": "断った件数",
    "sekisho.gap.reason": "欠落の理由", "sekisho.reconcile.kind": "相違の種類", "sekisho.reconcile.gaps": "番号の欠け",
    "sekisho.reconcile.names": "該当の文書", "sekisho.reconcile.missing": "欠け", "sekisho.count": "件数",
    "sekisho.admin.command": "操作", "error.code": "障害の種類", "sekisho.case.verdict": "結論",
    "sekisho.reconcile.since": "照合の始め", "sekisho.reconcile.until": "照合の終わり",
    "sekisho.reconcile.journal": "記録", "sekisho.reconcile.stored": "複製", "sekisho.reconcile.changed": "相違",
    "sekisho.reconcile.foreign": "由来不明", "sekisho.reconcile.sent": "送り直し",
}  # fmt: skip

_REQUESTS: Final[Where] = {"event.action": [Action.REQUEST_DECIDED], "not event.id": ["*.open"]}  # each once
_REFUSED: Final[Where] = {**_REQUESTS, "sekisho.verdict": ["refuse", "limited"]}
_SIGN_INS: Final = (Action.AUTH_PASSWORD, Action.AUTH_TOTP, Action.AUTH_PASSKEY, Action.AUTH_SETUP)
_SIGN_IN_FAILED: Final[Where] = {"event.action": _SIGN_INS, "event.outcome": ["failure"]}
_REVOKED: Final[Where] = {"event.action": [Action.SESSION_ENDED], "sekisho.reason": ["session_revoked"]}
_DEVICE: Final[Where] = {
    **_REQUESTS, "sekisho.reason": ["device_unknown", "device_certificate_revoked", "device_certificate_unchecked",
                                    "device_owner_mismatch", "device_changed", "device_locked"],
}  # fmt: skip
_TROUBLE: Final = (Action.AUDIT_GAP, Action.AUDIT_REFUSED, Action.COPY_DIFFERS)
_STORY: Final = (
    "event.action", "event.outcome", "user.name", "sekisho.app.id", "http.request.method", "url.path",
    "http.response.status_code", "sekisho.reason", "source.ip", "device.id", "http.request.id",
)  # fmt: skip


def boards(sensitive: Sequence[str]) -> tuple[Board, ...]:
    """Return every dashboard; `sensitive` are the ids of the apps of 機密性 3A–3C."""
    return (
        _overview(), _refusals(), _sign_in(), _sessions(), _sensitive(tuple(sensitive)), _devices(), _anomalies(),
        _trail(), _person(), _reference(),
    )  # fmt: skip


def _number(name: str, title: str, where: Where, measured: str = "") -> Panel:
    measure = Measure.DIFFERENT if measured else Measure.COUNT
    return Panel(f"sekisho-{name}", title, where, shape=Shape.NUMBER, measure=measure, measured=measured, label=title)


def _over_time(name: str, title: str, where: Where, by: str = "", interval: str = "auto") -> Panel:
    split = (by,) if by else ()
    return Panel(f"sekisho-{name}", title, where, split, Shape.OVER_TIME, interval=interval)


def _table(name: str, title: str, where: Where, *by: str, rows: int = 10) -> Panel:
    return Panel(f"sekisho-{name}", title, where, by, rows=rows)


def _overview() -> Board:
    items = (
        _number("overview-people", "利用した職員", _REQUESTS, "user.name"),
        _number("overview-refused", "拒否", _REFUSED),
        _number("overview-sign-in", "サインイン失敗", _SIGN_IN_FAILED),
        _number("overview-revoked", "強制終了", _REVOKED),
        _number("overview-cases", "新しい事案", {"event.action": [Action.CASE_OPENED]}),
        _number("overview-trouble", "記録の異常", {"event.action": _TROUBLE}),
        _over_time("overview-verdicts", "通信の判定", _REQUESTS, "sekisho.verdict"),
        _table("overview-reasons", "拒否の理由", _REFUSED, "sekisho.reason"),
        _table("overview-apps", "よく使われた業務", {**_REQUESTS, "sekisho.verdict": ["forward"]}, "sekisho.app.id"),
    )
    return Board(
        "sekisho-overview", "関所: CISO 概況", "今週の通信、拒否、サインイン失敗、強制終了、事案を一目で。", items
    )


def _refusals() -> Board:
    items = (
        _over_time("refusals-over-time", "拒否の推移 (理由別)", _REFUSED, "sekisho.reason"),
        _table("refusals-people", "拒否の多い職員と理由", {**_REFUSED, "user.name": []}, "user.name", "sekisho.reason"),
        _table(
            "refusals-apps", "業務ごとの拒否", {**_REFUSED, "sekisho.app.id": []}, "sekisho.app.id", "sekisho.reason"
        ),
        _table("refusals-addresses", "拒否の多い接続元", _REFUSED, "source.ip", "sekisho.reason"),
        _table("refusals-rules", "拒否した規則", {**_REFUSED, "rule.id": []}, "rule.id", "sekisho.app.id"),
        Search("sekisho-refusals-list", "拒否された通信", _REFUSED, _STORY),
    )
    return Board("sekisho-refusals", "関所: 拒否の理由", "だれが、何を、なぜ拒否されたか。", items)


def _sign_in() -> Board:
    strong = {"event.action": [Action.AUTH_TOTP, Action.AUTH_PASSKEY]}
    factors = {"event.action": [Action.FACTOR_ENROLLED, Action.FACTOR_REMOVED, Action.FACTOR_DISABLED]}
    started = {"event.action": [Action.SESSION_STARTED]}
    items = (
        _over_time("sign-in-failures", "サインインの失敗 (理由別)", _SIGN_IN_FAILED, "sekisho.reason"),
        _table("sign-in-people", "失敗の多い職員", {**_SIGN_IN_FAILED, "user.name": []}, "user.name", "sekisho.reason"),
        _table("sign-in-addresses", "失敗の多い接続元", _SIGN_IN_FAILED, "source.ip", "event.action"),
        _table("sign-in-mfa", "第2要素の結果", strong, "event.action", "event.outcome"),
        _table("sign-in-methods", "サインインの認証手段", started, "sekisho.session.amr"),
        Search("sekisho-sign-in-factors", "認証要素の登録・削除", factors,
               ("event.action", "user.name", "sekisho.factor.kind", "sekisho.by", "source.ip")),
    )  # fmt: skip
    return Board("sekisho-sign-in", "関所: サインインと多要素認証", "失敗の集中、第2要素、要素の登録と削除。", items)


def _sessions() -> Board:
    ended = {"event.action": [Action.SESSION_ENDED]}
    locks = {"event.action": [Action.LOCK_ADDED, Action.LOCK_REMOVED]}
    acts = {"event.action": [Action.ADMIN_REQUESTED]}
    items = (
        _over_time("sessions-ended", "セッションの終了 (理由別)", ended, "sekisho.reason"),
        _table("sessions-revoked", "強制終了された職員と実行者", _REVOKED, "user.name", "sekisho.by"),
        _table("sessions-acts", "管理操作", acts, "user.name", "sekisho.admin.command"),
        Search("sekisho-sessions-locks", "ロックの追加と解除", locks,
               ("event.action", "sekisho.lock.target", "user.name", "sekisho.by", "sekisho.justification")),
        Search("sekisho-sessions-revoked-list", "強制終了の一覧", _REVOKED,
               ("user.name", "sekisho.session.id", "sekisho.by", "sekisho.justification")),
    )  # fmt: skip
    return Board("sekisho-sessions", "関所: セッションの終了とロック", "強制終了、ロック、管理操作。", items)


def _sensitive(apps: tuple[str, ...]) -> Board:
    named: Where = {"sekisho.app.id": apps} if apps else {"sekisho.app.id": []}
    used = {**_REQUESTS, "sekisho.verdict": ["forward"], **named}
    items = (
        _over_time("sensitive-hours", "業務ごとの利用 (1時間ごと)", used, "sekisho.app.id", "1h"),
        _table("sensitive-people", "職員ごとの利用", used, "user.name", "sekisho.app.id", rows=20),
        _table("sensitive-zones", "場所ごとの利用", used, "sekisho.zone", "sekisho.app.id"),
        _table("sensitive-refused", "拒否", {**_REFUSED, **named}, "user.name", "sekisho.reason"),
        _table("sensitive-devices", "端末ごとの利用", {**used, "device.id": []}, "device.id", "user.name"),
        Search("sekisho-sensitive-list", "機密性3の業務の利用記録", used, _STORY),
    )
    words = "個人情報を扱う業務を、だれが、いつ、どこから使ったか。"
    controls = (("sekisho.app.id", "業務"), ("user.name", "職員ID"))
    return Board("sekisho-sensitive", "関所: 機密性3A〜3Cの業務", words, items, "now-24h", controls)


def _devices() -> Board:
    synced = {"event.action": [Action.POSTURE_SYNCED]}
    failed = {"event.action": [Action.POSTURE_FAILED]}
    changed = {"event.action": [Action.DEVICE_CHANGED]}
    items = (
        _over_time("devices-refused", "端末を理由とする拒否", _DEVICE, "sekisho.reason"),
        _table("devices-refused-people", "端末を理由に拒否された職員", _DEVICE, "user.name", "device.id"),
        _table("devices-failing", "満たさなくなった条件", {**changed, "sekisho.device.failing": []},
               "sekisho.device.failing"),
        _table("devices-sources", "端末管理の取得失敗", failed, "sekisho.posture.source", "error.code"),
        Panel("sekisho-devices-unreadable", "読めなかった端末の最大数", synced, ("sekisho.posture.source",),
              measure=Measure.LATEST, measured="sekisho.posture.unreadable", label="最大"),
        Search("sekisho-devices-changed", "端末の状態の変化", changed,
               ("device.id", "sekisho.device.name", "sekisho.device.compliant", "sekisho.device.failing")),
    )  # fmt: skip
    return Board("sekisho-devices", "関所: 端末の状態", "端末を理由とする拒否と、端末管理の状態。", items)


def _anomalies() -> Board:
    found = {"event.action": [Action.CASE_OPENED, Action.CASE_UPDATED]}
    closed = {"event.action": [Action.CASE_ACKNOWLEDGED, Action.CASE_CLOSED]}
    items = (
        _over_time("anomalies-over-time", "見つかった異常 (種類別)", found, "sekisho.finding.kind"),
        _table("anomalies-kinds", "種類と重さ", found, "sekisho.finding.kind", "sekisho.case.severity"),
        _table("anomalies-subjects", "異常の対象", found, "sekisho.finding.subject", "sekisho.finding.kind"),
        Search("sekisho-anomalies-list", "異常の一覧", found,
               ("sekisho.case.id", "sekisho.case.severity", "message", "sekisho.finding.command")),
        Search("sekisho-anomalies-acts", "事案の確認と終結", closed,
               ("sekisho.case.id", "event.action", "sekisho.by", "sekisho.case.verdict", "sekisho.justification")),
    )  # fmt: skip
    return Board("sekisho-anomalies", "関所: 異常と事案", "見つかった異常、事案の確認と終結。", items, "now-30d")


def _trail() -> Board:
    every: Where = {"sekisho.journal.writer": []}
    signed = {"event.action": ["checkpoint.signed"]}
    compared = {"event.action": [Action.COPY_RECONCILED]}
    items = (
        _number("trail-gaps", "記録の欠落", {"event.action": [Action.AUDIT_GAP]}),
        _number("trail-refused", "連鎖の途切れ", {"event.action": [Action.AUDIT_REFUSED]}),
        _number("trail-differs", "複製の相違", {"event.action": [Action.COPY_DIFFERS]}),
        _number("trail-compared", "複製の照合", compared),
        Panel("sekisho-trail-checkpoints", "署名済みの件数 (チェックポイント)", signed, shape=Shape.OVER_TIME,
              measure=Measure.LATEST, measured="sekisho.log.size", label="署名済みの件数"),
        Panel("sekisho-trail-writers", "書き手ごとの最新の記録 (遅れ)", every, ("sekisho.journal.writer",),
              measure=Measure.LATEST, measured="@timestamp", label="最新", rows=50),
        _table("trail-restarts", "起動と停止", {"event.action": [Action.PROCESS_STARTED, Action.PROCESS_DIED]},
               "process.name", "event.action", rows=50),
        Search("sekisho-trail-trouble", "欠落・途切れ・相違の一覧", {"event.action": _TROUBLE},
               ("event.action", "sekisho.journal.writer", "sekisho.log.writer", "sekisho.gap.lost",
                "sekisho.gap.reason", "error.message", "sekisho.reconcile.kind", "sekisho.count",
                "sekisho.reconcile.gaps", "sekisho.reconcile.names")),
        Search("sekisho-trail-reconciled", "複製の照合の記録", compared,
               ("sekisho.by", "event.outcome", "sekisho.reconcile.since", "sekisho.reconcile.until",
                "sekisho.reconcile.journal", "sekisho.reconcile.stored", "sekisho.reconcile.missing",
                "sekisho.reconcile.changed", "sekisho.reconcile.foreign", "sekisho.reconcile.sent")),
    )  # fmt: skip
    words = "記録の欠落、連鎖、チェックポイント、複製の遅れと相違。証明は sekisho audit verify で行います。"
    return Board("sekisho-trail", "関所: 記録の健全性", words, items)


def _person() -> Board:
    named: Where = {"user.name": []}
    items = (
        _over_time("person-hours", "1時間ごとの利用 (業務別)", {**_REQUESTS, **named}, "sekisho.app.id", "1h"),
        _table("person-refused", "拒否", {**_REFUSED, **named}, "sekisho.app.id", "sekisho.reason"),
        _table("person-places", "接続元と端末", {**_REQUESTS, **named}, "source.ip", "device.id"),
        Search("sekisho-person-list", "職員ひとりの記録", named, _STORY, "上の「職員ID」で一人を選んでください。"),
    )
    words = "一人の職員が、いつ、どこから、何をしたか。上の「職員ID」で選びます。"
    return Board("sekisho-person", "関所: 職員ひとりの一日", words, items, "now-24h", (("user.name", "職員ID"),))


def _reference() -> Board:
    items = (Search("sekisho-reference-list", "受付番号の記録", {"http.request.id": []}, _STORY,
                    "受付番号はハイフンなしの16文字で記録されています。"),)  # fmt: skip
    words = "画面に出た受付番号 (ハイフンなしの16文字) から、その通信の記録を探します。"
    controls = (("http.request.id", "受付番号"),)
    return Board("sekisho-reference", "関所: 受付番号で探す", words, items, "now-7d", controls)
