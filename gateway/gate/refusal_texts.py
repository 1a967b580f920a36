"""The words of refusals that the gateway has before control has told it better ones.

Control publishes `texts.ja` and `texts.en` (JSON: reason → {"title", "what", "do"}; "remedy.<code>" → text) with the
pages. What is missing there, or at the very start everything, is said with the words below: never an empty page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from policies.decision import Explanation, Unmet

LANGUAGES: Final = ("ja", "en")
_OF_DEVICE: Final = ("device.", "posture.")


@dataclass(frozen=True, slots=True)
class Words:
    """A heading, what happened, and what to do."""

    title: str
    what: str
    do: str


_ASK_JA = "心当たりがない場合や急ぐ場合は、受付番号を添えて担当者へ連絡してください。"
_AGAIN_JA = "少し待ってから、もう一度開いてください。"
_ASK_EN = "If this is unexpected or urgent, contact the help desk with the reference number."

_JA: Final[dict[str, Words]] = {
    "sign_in": Words(
        "サインインが必要です", "サインインの有効期間が終わりました。", "新しいタブでサインインしてください。"
    ),
    "unsent": Words(
        "まだ送信されていません",
        "サインインの有効期間が終わったため、入力した内容はまだ送信されていません。",
        "新しいタブでサインインしてから、このページを再読み込みすると、もう一度送信されます。",
    ),
    "session_revoked": Words("サインアウトしました", "管理者の操作によりサインアウトしました。", _ASK_JA),
    "step_up": Words(
        "もう一度の確認が必要です", "この操作には、あらためて本人の確認が必要です。", "下の手順で確認してください。"
    ),
    "locked": Words("利用が止められています", "管理者の操作により、現在は利用できません。", _ASK_JA),
    "account": Words(
        "このアカウントは利用できません", "アカウントが停止されているか、契約期間が終わっています。", _ASK_JA
    ),
    "device": Words(
        "端末を確認できませんでした", "サインインしたときと違う端末か、登録されていない端末です。",
        "ふだん使っている登録済みの端末で、もう一度サインインしてください。",
    ),
    "certificate": Words(
        "端末証明書の確認",
        "このページは、端末証明書の問題で業務用のアドレスが開けないときのためのものです。アプリは表示しません。",
        "開けなかったときの表示に近いものを、次から確かめてください。",
    ),
    "policy": Words("現在の条件では利用できません", "利用の条件を満たしていません。", "次の点を確認してください。"),
    "busy": Words("混み合っています", "短い時間に多くの要求がありました。", _AGAIN_JA),
    "unavailable": Words("一時的に利用できません", "安全を確認できないため、処理を止めました。", _AGAIN_JA),
    "app": Words("アプリが応答しません", "アプリから正しい応答がありませんでした。", _AGAIN_JA),
    "host": Words(
        "ページが見つかりません", "このアドレスのアプリは登録されていません。", "アドレスを確認してください。"
    ),
    "request": Words(
        "要求を受け付けられません", "送られた要求の形が正しくないため、処理しませんでした。",
        "前のページへ戻って、もう一度操作してください。",
    ),
}  # fmt: skip

_EN: Final[dict[str, Words]] = {
    "sign_in": Words("Sign-in needed", "Your sign-in is over.", "Sign in using a new tab."),
    "unsent": Words(
        "Not sent yet", "Your sign-in is over, so what you entered has not been sent.",
        "Sign in using a new tab, then reload this page to send it again.",
    ),
    "session_revoked": Words("You were signed out", "An administrator ended your session.", _ASK_EN),
    "step_up": Words("Please confirm again", "This needs a fresh proof that it is you.", "Follow the link below."),
    "locked": Words("Access is stopped", "An administrator has stopped this for now.", _ASK_EN),
    "account": Words("This account cannot be used", "It is disabled, or its contract is over.", _ASK_EN),
    "device": Words(
        "The device was not confirmed", "It is not the device you signed in with, or it is not registered.",
        "Sign in again on your own registered device.",
    ),
    "certificate": Words(
        "Device certificates",
        "This page helps when a work address does not open because of the device certificate. It shows no application.",
        "Look for what comes closest to what you saw.",
    ),
    "policy": Words("Not available as things are", "The conditions of use are not met.", "Please check the following."),
    "busy": Words("Too many requests", "Too many requests came in a short time.", "Wait a little, then try again."),
    "unavailable": Words(
        "Not available right now", "We could not make sure that this is safe.", "Wait a little, then try again."
    ),
    "app": Words("The application does not answer", "No proper answer came.", "Wait a little, then try again."),
    "host": Words("Not found", "No application is registered at this address.", "Please check the address."),
    "request": Words("Request not accepted", "The request is not well formed.", "Go back and try again."),
}  # fmt: skip

_KIND_OF_REASON: Final[dict[str, str]] = {
    **dict.fromkeys(("user_locked", "device_locked", "session_locked", "group_locked", "app_locked"), "locked"),
    **dict.fromkeys(("user_disabled", "contract_ended"), "account"),
    **dict.fromkeys(
        ("device_unknown", "device_certificate_revoked", "device_owner_mismatch", "device_changed"), "device"
    ),
    "device_certificate_unchecked": "unavailable",
    **dict.fromkeys(("denied_by_rule", "unmet_conditions", "no_applicable_rule", "not_permitted"), "policy"),
    **dict.fromkeys(("rate_limited", "overloaded"), "busy"),
    **dict.fromkeys(("journal_unhealthy", "state_stale", "control_unavailable", "internal_error"), "unavailable"),
    **dict.fromkeys(("app_unreachable", "app_timed_out", "app_answer_invalid"), "app"),
    **dict.fromkeys(("unknown_host", "misdirected"), "host"),
    **dict.fromkeys(
        ("sign_in_required", "session_ended", "session_expired", "session_idle", "session_replaced", "signed_out"),
        "sign_in",
    ),
    "certificate_help": "certificate",
    "session_revoked": "session_revoked",
    "step_up_required": "step_up",
    "unsent": "unsent",
}

_REMEDIES_JA: Final[dict[str, str]] = {
    "step_up_mfa": "もう一度、本人の確認をしてください。",
    "sign_in_again": "サインインし直してください。",
    "certificate_choose": "証明書を選ぶ画面が出た: 端末の名前が付いた証明書を選んでください。"
    "キャンセルした場合は、ブラウザーをすべて閉じてから開き直してください。",
    "certificate_refused": "「ERR_BAD_SSL_CLIENT_AUTH_CERT」などの表示: 証明書の期限切れか、"
    "別の組織の証明書が選ばれています。端末管理のアプリで同期し、ブラウザーを開き直してください。",
    "certificate_missing": "「端末を確認できませんでした」の表示: 証明書が端末に入っていません。"
    "業務用の端末で開くか、連絡先へ証明書の再発行を頼んでください。",
    "use_known_device": "登録された端末を使ってください。",
    "use_managed_device": "管理された端末を使ってください。",
    "use_own_device": "自分に割り当てられた端末を使ってください。",
    "fix_device": "端末の設定を利用条件に合わせてください。",
    "encrypt_device": "ディスクの暗号化を有効にしてください。",
    "update_os": "OSを更新してください。",
    "refresh_posture": "端末管理のアプリで同期してから「再確認」を押してください。",
    "wait_for_posture": "端末の状態を確認できませんでした。時間をおいて「再確認」を押してください。",
    "move_zone": "庁内または指定された場所から接続してください。",
    "wait_for_hours": "利用できる時間帯に、もう一度開いてください。",
    "contact_help": "担当者へ連絡してください。",
    "ask_owner": "必要な場合は、所属長を通じて申請してください。",
}
_REMEDIES_EN: Final[dict[str, str]] = {
    "step_up_mfa": "Confirm again that it is you.",
    "sign_in_again": "Sign in again.",
    "certificate_choose": "You were asked to choose a certificate: choose the one with the device's name. "
    "If you cancelled, close all browser windows and open the address again.",
    "certificate_refused": "You saw ERR_BAD_SSL_CLIENT_AUTH_CERT or the like: the certificate is too old, or one of "
    "another organisation was chosen. Synchronise with device management, then restart the browser.",
    "certificate_missing": "You were told that the device was not confirmed: it holds no certificate. "
    "Use your work device, or ask the contact below for a new certificate.",
    "use_known_device": "Use a registered device.",
    "use_managed_device": "Use a managed device.",
    "use_own_device": "Use the device assigned to you.",
    "fix_device": "Bring the device's settings in line with the conditions of use.",
    "encrypt_device": "Turn on disk encryption.",
    "update_os": "Update the operating system.",
    "refresh_posture": "Synchronise with device management, then check again.",
    "wait_for_posture": "The device's state could not be read. Wait a little, then check again.",
    "move_zone": "Connect from the office or another permitted place.",
    "wait_for_hours": "Come back during the permitted hours.",
    "contact_help": "Contact the help desk.",
    "ask_owner": "If you need this, apply through your manager.",
}

BUILT_IN: Final = {"ja": _JA, "en": _EN}
REMEDIES: Final = {"ja": _REMEDIES_JA, "en": _REMEDIES_EN}
LABELS: Final = {
    "ja": {"reference": "受付番号", "again": "再確認", "sign_in": "サインインする", "step_up": "本人の確認へ進む",
           "home": "アプリの一覧へ", "from": "担当者からの連絡", "contact": "連絡先"},
    "en": {"reference": "Reference", "again": "Check again", "sign_in": "Sign in", "step_up": "Confirm",
           "home": "Your applications", "from": "Message", "contact": "Contact"},
}  # fmt: skip


class Texts:
    """The words of one language: what control published, else the built-in ones."""

    def __init__(self, language: str, published: str) -> None:
        """`published` is the JSON text of control, "" while there is none; broken JSON counts as none."""
        self.language = language
        self._published = _parse(published)

    def words(self, reason: str) -> Words:
        """Return the words for a reason code; unknown reasons are said in general terms."""
        built_in = BUILT_IN[self.language][_KIND_OF_REASON.get(reason, "request")]
        told = self._published.get(reason)
        if not isinstance(told, dict):
            return built_in
        title, what, do = (told.get(part) for part in ("title", "what", "do"))
        return Words(
            title if isinstance(title, str) and title else built_in.title,
            what if isinstance(what, str) and what else built_in.what,
            do if isinstance(do, str) else built_in.do,
        )

    def remedy(self, code: str) -> str:
        """Return what a person can do about one unmet condition; "" = nothing is known."""
        told = self._published.get(f"remedy.{code}")
        return told if isinstance(told, str) else REMEDIES[self.language].get(code, "")

    def label(self, name: str) -> str:
        """Return the text of a link or field."""
        told = self._published.get(f"label.{name}")
        return told if isinstance(told, str) else LABELS[self.language][name]


def counsel(explanation: Explanation | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the rules' own advice, and the remediation codes of what no advice speaks about; each once."""
    if explanation is None:
        return (), ()
    unmet = _roots(explanation.unmet)
    advised = [item for item in unmet if item.advice]
    advice = [*(item.advice for item in advised), explanation.advice]
    spoken = {item.remediation for item in advised}
    codes = (item.remediation for item in unmet if item.remediation not in spoken)
    return tuple(dict.fromkeys(filter(None, advice))), tuple(dict.fromkeys(filter(None, codes)))


def _roots(unmet: tuple[Unmet, ...]) -> tuple[Unmet, ...]:
    """Leave out what only follows: nothing is known about a device that is not known, and telling so helps nobody."""
    if all(item.attribute != "device.known" for item in unmet):
        return unmet
    return tuple(item for item in unmet if item.actual is not None or not item.attribute.startswith(_OF_DEVICE))


@lru_cache(maxsize=8)
def _parse(published: str) -> dict[str, object]:
    if not published:
        return {}
    try:
        parsed = json.loads(published)
    except ValueError:
        return {}  # the built-in words stand in: a refusal must not fail over its wording
    return parsed if isinstance(parsed, dict) else {}
