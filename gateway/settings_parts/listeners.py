"""Where the gateway listens, and what each kind of listener trusts (design §4)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gateway.settings_parts.field import Address, LocalAddress, Section, required, setting, split_address

_ADDRESS = "待ち受けるアドレス(IP:ポート、または unix:/パス)"


class Listener(Section):
    """One place where connections are accepted."""

    address: Address = required(_ADDRESS, "待ち受けは必ず明示する")

    @property
    def endpoint(self) -> tuple[str, int] | Path:
        """The address as (IP, port), or the path of a unix socket."""
        return split_address(self.address)


class CertificatePair(Section):
    """A certificate of some hosts, and its key."""

    certificate: Path = required("サーバー証明書(PEM、チェーンを含む)", "その別名(SAN)にある名前に使う")
    key: Path = required("サーバー証明書の秘密鍵(PEM)", "証明書と組になる")


class TlsListener(Listener):
    """A listener that speaks TLS 1.2 and 1.3."""

    certificate: Path = setting(Path("tls/server.pem"), "サーバー証明書(PEM、チェーンを含む)", "init が作る場所")
    key: Path = setting(Path("tls/server.key"), "サーバー証明書の秘密鍵(PEM)", "init が作る場所")
    certificates: tuple[CertificatePair, ...] = setting(
        (),
        "名前ごとの証明書。{ certificate = …, key = … } の並び。SAN で選び、当たらない名前には上の証明書",
        "ファイルを置き換えれば、数秒のうちに再起動なしで使われる",
    )


class ClientCrl(Section):
    """The certificate revocation list (RFC 5280 §5) of one authority that issues devices' certificates."""

    authority: Path = required(
        "失効リストに署名する認証局の証明書(PEM、1枚)", "だれのリストかをファイルの中身に言わせない"
    )
    file: Path = required("失効リスト(PEM または DER)。定期の取得は cron などで", "置き換えれば 2〜4 秒で使われる")
    when_stale: Literal["refuse", "warn"] = setting(
        "refuse", "リストがないか期限を過ぎたときの、この認証局の証明書。refuse は拒む、warn は通して知らせる",
        "nginx、HAProxy、Envoy、OpenSSL と同じ。失効を知らないまま通さない",
    )  # fmt: skip


class PublicListener(TlsListener):
    """Where browsers connect; asks for a device certificate and accepts none."""

    client_ca: Path = setting(
        Path("device-ca/ca.pem"), "端末証明書を発行する認証局(PEM)。これだけを信頼する", "init が作る場所"
    )
    client_crls: tuple[ClientCrl, ...] = setting(
        (), "認証局ごとの失効リスト。{ authority = …, file = …, when_stale = … } の並び",
        "外の認証局が失効させた証明書を、次の要求から拒み、通信中の接続を切る",
    )  # fmt: skip
    crl_entries: int = setting(
        200_000, "失効リスト1つの件数の上限", "1万台の端末の20年分。ワーカーごとに 100 万件で 25 MB ほど",
        unit="件", ge=1, le=1_000_000,
    )  # fmt: skip


class BehindListener(Listener):
    """Behind HAProxy or nginx: PROXY protocol v2 is mandatory on each connection."""

    address: LocalAddress = required(_ADDRESS, "前段は同じ機械にいる。外からは届かせない")
    scheme: Literal["https", "http"] = setting("https", "前段で利用者が使う方式", "前段が TLS を終端する")


class LoopbackListener(Listener):
    """Plain HTTP for tools on this machine; a forwarded address is never believed."""

    address: LocalAddress = required(_ADDRESS, "平文なので、この機械の中だけ")


class Listeners(Section):
    """All listeners; a kind left out is not opened."""

    public: PublicListener | None = setting(None, "利用者が接続する入口(TLS、端末証明書は任意)", "使う入口だけを書く")
    help: TlsListener | None = setting(None, "証明書の問題を説明する入口(端末証明書を求めない)", "使う入口だけを書く")
    redirect: Listener | None = setting(None, "http:// から https:// へ案内するだけの入口", "使う入口だけを書く")
    behind: BehindListener | None = setting(None, "前段の HAProxy・nginx の後ろの入口", "使う入口だけを書く")
    loopback: LoopbackListener | None = setting(None, "この機械の中の道具のための入口(平文)", "使う入口だけを書く")
