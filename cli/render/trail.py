"""Records in words: who, to what, allowed or refused, why, under which 受付番号; for tables, `tail` and `show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cli.language import t

Record = Mapping[str, Any]

_REASONS_JA: Final[Mapping[str, str]] = {
    "allowed": "", "own_page": "", "preflight": "", "done": "", "complete": "",
    "allowed_observed": "試行中の規則で許可", "denied_by_rule": "規則により拒否",
    "unmet_conditions": "利用条件を満たさない", "no_applicable_rule": "認める規則がない",
    "step_up_required": "追加の本人確認が必要", "sign_in_required": "サインインが必要",
    "session_ended": "セッション終了", "session_revoked": "管理者が終了", "session_expired": "有効期間の終わり",
    "session_idle": "操作なし", "session_replaced": "同時利用数の超過", "signed_out": "サインアウト",
    "user_disabled": "アカウント停止中", "contract_ended": "契約期間の終わり", "user_locked": "利用者のロック",
    "device_locked": "端末のロック", "session_locked": "セッションのロック", "group_locked": "グループのロック",
    "app_locked": "アプリのロック", "device_unknown": "未登録の端末",
    "device_certificate_revoked": "失効した端末証明書", "device_certificate_unchecked": "失効が不明な端末証明書",
    "device_owner_mismatch": "別の人の端末",
    "device_changed": "サインイン時と違う端末", "rate_limited": "要求が多すぎる", "overloaded": "混雑",
    "journal_unhealthy": "記録を書けない", "state_stale": "状態が古い",
    "control_unavailable": "ポータル応答なし", "internal_error": "内部エラー",
    "unknown_host": "未登録のアドレス", "misdirected": "接続先の誤り", "certificate_help": "端末証明書の案内",
    "malformed_request": "不正な形の要求", "path_not_canonical": "不正なパス",
    "header_not_allowed": "不正なヘッダー", "method_not_allowed": "認めない操作", "too_large": "大きすぎる",
    "timed_out": "時間切れ", "cross_site": "別サイトからの送信", "app_unreachable": "アプリに接続不可",
    "app_timed_out": "アプリ応答なし", "app_answer_invalid": "アプリの応答が不正",
    "credentials_wrong": "IDかパスワードの誤り", "code_wrong": "確認コードの誤り",
    "code_reused": "使用済みのコード", "account_waiting": "失敗が続き待機中", "not_permitted": "権限がない",
    "request_incomplete": "送信の途中で終了", "invalid_arguments": "引数の誤り", "not_found": "対象がない",
    "conflict": "競合", "reader_left": "閲覧の終了",
}  # fmt: skip
_ACTIONS_JA: Final[Mapping[str, str]] = {
    "request.decided": "アクセス", "request.completed": "応答", "request.coalesced": "匿名の要求(まとめ)",
    "tunnel.progress": "接続の経過", "auth.password": "パスワード", "auth.totp": "確認コード",
    "auth.passkey": "パスキー", "auth.setup": "設定コード", "auth.waiting": "待機中の試行",
    "factor.enrolled": "認証手段の登録", "factor.removed": "認証手段の削除",
    "factor.disabled": "認証手段の停止", "session.started": "サインイン", "session.elevated": "本人の再確認",
    "session.ended": "セッション終了", "app_session.started": "アプリ利用開始", "user.created": "利用者の追加",
    "user.changed": "利用者の変更", "user.disabled": "利用者の停止", "user.enabled": "利用者の再開",
    "lock.added": "ロック", "lock.removed": "ロック解除", "app.proposed": "アプリの申請",
    "app.approved": "アプリの承認", "app.removed": "アプリの削除", "policy.proposed": "ポリシーの申請",
    "policy.approved": "ポリシーの承認", "policy.activated": "ポリシーの有効化", "device.changed": "端末の変化",
    "posture.synced": "端末管理の取得", "posture.failed": "端末管理の失敗", "admin.requested": "管理操作",
    "admin.done": "管理操作の結果", "tls.failed": "TLSの失敗", "connection.refused": "接続の拒否",
    "process.started": "起動", "process.died": "停止", "worker.fenced": "ワーカー停止", "journal.opened": "記録の開始",
    "audit.gap": "記録の欠落", "clock.jumped": "時刻の飛び", "copy.reconciled": "複製の照合",
    "copy.differs": "複製の相違", "disk.filling": "ディスクの空きの減少", "disk.recovered": "ディスクの空きの回復",
    "settings.taken_up": "設定の再読み込み", "settings.refused": "設定の再読み込みの拒否",
    "program.replaced": "プログラムの入れ替え",
    "certificate.served": "証明書の切り替え", "certificate.refused": "使えない証明書",
    "certificate.expiring": "証明書の期限", "certificate.reinstated": "端末証明書の失効の取り消し",
    "crl.accepted": "失効リストの切り替え", "crl.refused": "使えない失効リスト", "crl.stale": "失効リストの期限切れ",
    "crl.dropped": "失効リストの廃止", "crl.renumbered": "失効リストの番号のやり直し",
    "upstream.failed": "アプリのサーバーの停止", "upstream.recovered": "アプリのサーバーの回復",
}  # fmt: skip
_VERDICTS_JA: Final[Mapping[str, str]] = {
    "forward": "許可", "refuse": "拒否", "sign_in": "要サインイン", "step_up": "要本人確認", "limited": "制限",
    "local": "ポータル", "preflight": "事前確認",
}  # fmt: skip
_OUTCOMES: Final = {"success": ("成功", "ok"), "failure": ("失敗", "failed")}


def who(record: Record) -> str:
    """Whose act the record tells of: the login, else the address, else the process, named by its journal at least."""
    related = record.get("related.user")
    ended = f"({related[-1]})" if isinstance(related, list) and related else ""
    process = record.get("process.name") or record.get("sekisho.worker")
    writer = str(record.get("event.id") or "").partition(":")[0]
    return str(record.get("user.name") or ended or record.get("source.ip") or process or writer or "-")


def action(record: Record) -> str:
    """What kind of act it was."""
    code = str(record.get("event.action", ""))
    return t(_ACTIONS_JA.get(code, code), code)


def outcome(record: Record) -> str:
    """Allowed, refused, or how else it ended."""
    verdict = record.get("sekisho.verdict")
    if verdict:
        return t(_VERDICTS_JA.get(str(verdict), str(verdict)), str(verdict))
    ja, en = _OUTCOMES.get(str(record.get("event.outcome")), ("-", "-"))
    return t(ja, en)


def happening(record: Record) -> str:
    """Act and outcome in one short text: the verdict of a request, the name of any other act, a failure marked."""
    if record.get("sekisho.verdict"):
        return outcome(record)
    failed = record.get("event.outcome") == "failure"
    return action(record) + (t("×", " x") if failed else "")


def why(record: Record) -> str:
    """The reason in words, "" where there is nothing to explain."""
    code = str(record.get("sekisho.reason") or record.get("sekisho.admin.result") or "")
    return t(_REASONS_JA.get(code, code), code)


def reference(record: Record) -> str:
    """The 受付番号 as people read it out."""
    name = str(record.get("http.request.id") or "")
    return "-".join(name[i : i + 4] for i in range(0, 16, 4)) if len(name) == 16 and "-" not in name else name


def subject(record: Record) -> str:
    """What the record is about, in one short text."""
    if record.get("url.domain"):
        path = str(record.get("url.path") or "")
        return f"{record.get('http.request.method', '')} {str(record['url.domain']).split('.')[0]}{path}".strip()
    if record.get("sekisho.admin.command"):
        return str(record["sekisho.admin.command"])
    if record.get("event.action") == "request.coalesced":
        return t(f"{record.get('sekisho.count', '?')} 件", f"{record.get('sekisho.count', '?')} requests")
    for name in ("user.target.name", "sekisho.lock.target_id", "sekisho.app.id", "sekisho.factor.kind",
                 "sekisho.session.id", "device.id", "sekisho.policy.hash", "process.name"):  # fmt: skip
        if record.get(name):
            return str(record[name])
    return ""
