"""Services of others that an installation may use: device management, search, alerts.

Secrets are never settings: a setting names the file that holds one, or `credential:NAME` for what systemd loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from audit.note import COSIGNATURE, decode_verifier
from gateway.settings_parts.field import SecretPath, Section, ServiceUrl, checked_url, required, setting

_OPTIONAL_CA = "接続先を確かめる認証局(PEM)。書かなければ OS のもの"


class Mdm(Section):
    """The device management whose facts decide."""

    source: Literal["graph"] = setting("graph", "端末管理の種類(Microsoft Graph v1.0)", "Intune の公開 API")
    base_url: ServiceUrl = required("API の基点", "組織ごとに違う")
    token_url: ServiceUrl = required("アクセストークンを得る URL", "組織ごとに違う")
    scope: str = setting("https://graph.microsoft.com/.default", "求める権限の範囲", "Graph の既定", min_length=1)
    client_id: str = required("クライアント ID", "組織ごとに違う", min_length=1)
    client_secret_file: SecretPath = required("クライアントシークレットを収めたファイル", "秘密は設定に書かない")
    ca: Path | None = setting(None, _OPTIONAL_CA, "公開の API なら不要")
    interval: float = setting(60.0, "取得の間隔", "端末の変化を1分で知る", unit="s", ge=1, le=900)
    timeout: float = setting(20.0, "1回の要求の上限", "止まった API を待ち続けない", unit="s", gt=0, le=120)


class Elasticsearch(Section):
    """Where the searchable copy of the records goes."""

    url: ServiceUrl = required("Elasticsearch の URL", "組織ごとに違う")
    ca: Path | None = setting(None, _OPTIONAL_CA, "公開の証明書なら不要")
    write_key_file: SecretPath = required("書き込み用 API キーのファイル", "書く鍵は読めない")
    read_key_file: SecretPath = required("検索用 API キーのファイル", "読む鍵は書けない")
    namespace: str = setting("default", "データストリームの namespace", "Elastic の既定", pattern="^[a-z0-9_.]{1,100}$")


def _witness(value: str) -> str:
    url, _, key = value.partition(" ")
    decode_verifier(key, COSIGNATURE)
    return f"{checked_url(url)} {key}"


class Witness(Section):
    """Who else signs that the log only grows (C2SP tlog-witness): a second host, the prefecture."""

    places: tuple[Annotated[str, AfterValidator(_witness)], ...] = required(
        "証人ごとに「URL 公開鍵」(公開鍵は witness keygen が表示する)",
        "別の組織が持つと、巻き戻しを隠せない",
        min_length=1,
    )
    ca: Path | None = setting(None, _OPTIONAL_CA, "公開の証明書なら不要")


class MailAlert(Section):
    """Alerts by mail."""

    host: str = required("SMTP サーバー", "組織ごとに違う", pattern=r"^[A-Za-z0-9.:-]{1,253}$")
    port: int = setting(587, "SMTP のポート", "submission(RFC 6409)", ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = setting("starttls", "暗号化。none は同じ機械の中継だけ", "RFC 8314")
    ca: Path | None = setting(None, _OPTIONAL_CA, "公開の証明書なら不要")
    user: str = setting("", "SMTP の利用者。空なら認証しない", "中継による")
    password_file: SecretPath | None = setting(None, "SMTP のパスワードのファイル", "秘密は設定に書かない")
    sender: str = required("差出人のアドレス", "組織ごとに違う", pattern=r"^[^@\s<>]+@[^@\s<>]+$")
    recipients: tuple[str, ...] = required("宛先のアドレス", "CISO と運用の担当", min_length=1)


class WebhookAlert(Section):
    """Alerts by HTTP POST, signed."""

    url: ServiceUrl = required("送り先の URL", "組織ごとに違う")
    secret_file: SecretPath = required("署名に使う共有鍵のファイル", "受け手が差出人を確かめられる")
    ca: Path | None = setting(None, _OPTIONAL_CA, "公開の証明書なら不要")


class Alerts(Section):
    """How the system tells people that something needs them."""

    mail: MailAlert | None = setting(None, "メールで知らせる", "使う経路だけを書く")
    webhook: WebhookAlert | None = setting(None, "Webhook で知らせる", "使う経路だけを書く")
