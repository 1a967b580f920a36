"""Other ways out of the records, beside Elasticsearch: a file for agents that read files, a syslog receiver."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import model_validator

from gateway.settings_parts.field import SecretPath, Section, required, setting

_HOST: Final = r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$"
_NAME: Final = r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252})?$"


class NdjsonOutlet(Section):
    """A file of ECS JSON lines."""

    path: Path = required("書き込むファイル", "Elastic Agent / Filebeat が読む場所")
    rotate_bytes: int = setting(
        100_000_000, "新しいファイルに替える大きさ", "読む側が追いつける", unit="bytes", ge=100_000, le=10_000_000_000
    )
    kept: int = setting(5, "残す古いファイルの数", "元の記録は別に残る", unit="個", ge=1, le=100)


class SyslogOutlet(Section):
    """A syslog receiver over TLS."""

    host: str = required("syslog の受け手", "組織ごとに違う", pattern=_HOST)
    port: int = setting(6514, "受け手のポート", "syslog over TLS(RFC 5425)", ge=1, le=65_535)
    ca: Path = required("受け手の証明書を確かめる認証局(PEM)", "平文や、誰の証明書でもよい接続では送らない")
    server_name: str = setting("", "証明書にある名前。空なら host", "住所でつなぐときに要る", pattern=_NAME)
    client_certificate: Path | None = setting(None, "こちらの証明書(PEM)", "受け手が求めるときだけ")
    client_key: SecretPath | None = setting(None, "その秘密鍵(PEM)", "秘密は設定に書かない")

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key, both or neither")
        return self


class Outlets(Section):
    """Where records go besides, each with a place of its own."""

    ndjson: NdjsonOutlet | None = setting(None, "ファイル(NDJSON)に書く", "使う経路だけを書く")
    syslog: SyslogOutlet | None = setting(None, "syslog で送る", "使う経路だけを書く")
