"""Limits, times and sizes, each with the bound that keeps a promise true whatever is configured."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from audit.room import Floor, Reserve
from gateway.settings_parts.field import Section, required, setting

_DAY = 86_400.0  # seconds


class Rate(Section):
    """A token bucket; both numbers belong together, so both are stated."""

    per_second: float = required("1秒あたりに許す要求の数", "続けて使う速さ", unit="req/s", gt=0, le=1_000_000)
    burst: int = required("一度に許す要求の数", "1画面の部品をまとめて取れる", unit="req", ge=1, le=1_000_000)


class Limits(Section):
    """How much one peer may ask for."""

    header_bytes: int = setting(
        32_768, "ヘッダー全体の上限", "庁内の業務アプリの最大の数倍", unit="B", ge=4096, le=65_536
    )
    header_count: int = setting(100, "ヘッダーの個数の上限", "ブラウザーは 30 個ほど", unit="個", ge=20, le=500)
    header_line_bytes: int = setting(16_384, "ヘッダー1行の上限", "大きい Cookie が入る", unit="B", ge=1024, le=65_536)
    target_bytes: int = setting(
        8192, "要求先(パスとクエリ)の上限", "RFC 9112 §3 が勧める 8000 以上", unit="B", ge=1024, le=32_768
    )
    body_bytes: int = setting(5 * 2**30, "本文の上限", "図面や動画の登録に足りる", unit="B", ge=0, le=2**40)
    connections: int = setting(10_000, "ワーカー1つの接続の上限", "1万人の市役所", unit="個", ge=16, le=1_000_000)
    connections_per_address: int = setting(
        512, "1アドレスからの接続の上限", "庁舎全体が1アドレスのことがある", unit="個", ge=1
    )
    connections_per_zone: int = setting(
        8000,
        "1つのゾーンからのワーカー1つの接続の上限",
        "1つの網が混んでも、ほかの網の席が残る",
        unit="個",
        ge=1,
        le=1_000_000,
    )
    requests_per_connection: int = setting(10_000, "1接続の要求の上限", "長い接続を時々つなぎ直させる", unit="回", ge=1)
    ahead_bytes: int = setting(
        65_536, "答えを待たずに送られた要求を溜める上限(処理するのは常に1つ)", "数十の要求が入る。超えたら読まない",
        unit="B", ge=4096, le=2**20,
    )  # fmt: skip
    unsent_bytes: int = setting(
        8 * 2**20, "受け取らない相手に送れずにいる本文のために、ワーカー1つが大きいまま持つ量",
        "遅い相手が同時に 85 人いても速さが変わらない。超えたら 4 KiB ずつ読み、誰も止めない",
        unit="B", ge=2**20, le=2**30,
    )  # fmt: skip
    ranges: int = setting(
        200,
        "Range の範囲の個数の上限",
        "Apache の MaxRanges と同じ。RFC 9110 §14.2 の攻撃を止める",
        unit="個",
        ge=1,
        le=1000,
    )
    body_min_rate: int = setting(
        240, "本文が届く速さの下限", "64 kbit/s の回線の 1/30。遅いふりの攻撃を切る", unit="B/s", ge=1, le=100_000
    )
    read_min_rate: int = setting(
        1000, "応答が受け取られる速さの下限", "64 kbit/s の回線の 1/8。受け取らない相手に席を占めさせない",
        unit="B/s", ge=1, le=100_000,
    )  # fmt: skip
    streams_per_session: int = setting(
        256, "1セッションがワーカー1つで同時に続けられる通信(1秒以上のもの、WebSocket、SSE)",
        "ブラウザーが1つのサイトに開ける WebSocket の数(255)", unit="個", ge=4, le=10_000,
    )  # fmt: skip
    frame_bytes: int = setting(
        16 * 2**20, "WebSocket の1フレームの上限", "業務画面の最大の数倍", unit="B", ge=1024, le=2**30
    )
    user_rate: Rate = setting(Rate(per_second=200, burst=400), "1利用者の要求の速さ", "操作では届かない速さ")
    session_rate: Rate = setting(Rate(per_second=100, burst=300), "1セッションの要求の速さ", "操作では届かない速さ")
    address_rate: Rate = setting(
        Rate(per_second=2000, burst=4000), "1アドレスの要求の速さ", "庁舎全体が1アドレスのことがある"
    )
    shared_names: int = setting(
        1000, "速さの枠をワーカーの間で融通する利用者・セッション・アドレスの数",
        "超えた分は、枠をワーカーの数で等分したまま。開くことはない", unit="件", ge=1, le=10_000,
    )  # fmt: skip

    def rates(self) -> dict[str, Rate]:
        """Return the rates by what they limit."""
        return {"address": self.address_rate, "user": self.user_rate, "session": self.session_rate}


class Timeouts(Section):
    """How long anything may take; all in seconds."""

    header: float = setting(10.0, "ヘッダーを受け取り終えるまで", "低速攻撃で席を占めさせない", unit="s", gt=0, le=60)
    body_idle: float = setting(
        30.0, "下限より速く届いていた本文が途切れてよい時間", "電波が途切れても続けられる", unit="s", gt=0, le=300
    )
    slow_grace: float = setting(
        10.0,
        "速さの下限を求めるまでの時間",
        "回線が詰まる数秒は待つ。15 秒以内に遅い攻撃を切る",
        unit="s",
        gt=0,
        le=300,
    )
    idle: float = setting(75.0, "要求のない接続を保つ時間", "ブラウザーの既定に近い", unit="s", gt=0, le=600)
    total_request: float = setting(
        3600.0, "1つの要求の全体(WebSocket と SSE を除く)", "大きいダウンロードのため", unit="s", ge=1, le=86_400
    )
    upstream_connect: float = setting(5.0, "アプリへ接続するまで", "庁内網なら十分", unit="s", gt=0, le=60)
    upstream_first_byte: float = setting(60.0, "アプリの最初の応答まで", "帳票作成のため", unit="s", gt=0, le=3600)
    upstream_between: float = setting(
        120.0, "アプリの応答が途切れてよい時間", "帳票作成のため", unit="s", gt=0, le=3600
    )
    tunnel_idle: float = setting(
        3600.0, "WebSocket と SSE が無通信でよい時間", "開いたままの画面のため", unit="s", ge=1, le=86_400
    )
    tls_handshake: float = setting(10.0, "TLS の確立まで", "低速攻撃で席を占めさせない", unit="s", gt=0, le=60)
    drain: float = setting(
        60.0, "入れ替えたワーカーが、受け持ちの通信(WebSocket など)を終えるまで", "書きかけの画面を保存する間がある",
        unit="s", gt=0, le=86_400,
    )  # fmt: skip
    overload_lag: float = setting(
        0.1,
        "要求が順番を待つ時間。続けて超えたらアプリへの要求の一部を 503 で断る",
        "待たせるより早く知らせる",
        unit="s",
        gt=0,
        le=10,
    )
    journal_stall: float = setting(
        1.0, "記録の書き込みが止まってよい時間", "P2:これを超えたら拒否する", unit="s", gt=0, le=1
    )
    ack: float = setting(1.0, "失効などを全ワーカーが確認するまで", "P3:超えたワーカーは止める", unit="s", gt=0, le=5)
    stale_refuse: float = setting(
        5.0, "状態が届かないとき拒否を始めるまで", "古い状態で許可しない", unit="s", ge=5, le=60
    )
    stale_cut: float = setting(30.0, "状態が届かないとき通信を切るまで", "古い状態で続けない", unit="s", ge=30, le=300)
    unknown_ask: float = setting(
        0.2, "知らないセッションを問い合わせる時間", "新しいセッションの直後だけ使う", unit="s", gt=0, le=0.2
    )

    @model_validator(mode="after")
    def _cut_follows_refusal(self) -> Self:
        if self.stale_cut < self.stale_refuse:
            raise ValueError("stale_cut not below stale_refuse")
        return self


class Sessions(Section):
    """How long one sign-in lasts (NIST SP 800-63B-4 §2.2.3: 24 h and 1 h at most)."""

    absolute: float = setting(
        32_400.0, "サインインから終わりまで", "勤務時間。上限は 24 時間", unit="s", ge=300, le=86_400
    )
    idle: float = setting(1800.0, "操作がないとき終わるまで", "離席。上限は 1 時間", unit="s", ge=60, le=3600)
    concurrent: int = setting(3, "1人が同時に持てるセッション", "自席・出先・共用端末", unit="個", ge=1, le=20)
    code_lifetime: float = setting(30.0, "アプリへ渡す1回限りの符号の寿命", "画面の移動の間だけ", unit="s", gt=0, le=30)


class SignIn(Section):
    """How guesses are slowed and passwords are hashed."""

    wait_after: int = setting(5, "待ち時間が始まる失敗の回数", "打ち間違いは待たせない", unit="回", ge=1, le=10)
    disable_after: int = setting(
        20, "再登録を求める失敗の回数", "NIST SP 800-63B-4 §3.2.2:100 回以下", unit="回", ge=5, le=100
    )
    totp_drift_steps: int = setting(
        1, "TOTP の前後に許す段数(1段 30 秒)", "時計のずれ。RFC 6238 §5.2", unit="段", ge=0, le=1
    )
    argon2_memory_kib: int = setting(19_456, "Argon2id のメモリー", "OWASP の下限", unit="KiB", ge=19_456, le=1_048_576)
    argon2_time: int = setting(2, "Argon2id の繰り返し", "OWASP の下限", unit="回", ge=2, le=20)
    argon2_parallelism: int = setting(1, "Argon2id の並列度", "OWASP の値", unit="本", ge=1, le=16)
    hash_workers: int = setting(
        2, "同時に計算するパスワードの数", "朝の集中でもメモリーを一定にする", unit="個", ge=1, le=32
    )

    @model_validator(mode="after")
    def _waiting_comes_before_disabling(self) -> Self:
        if self.disable_after <= self.wait_after:
            raise ValueError("disable_after above wait_after")
        return self


class Writes(StrEnum):
    """Whose records a journal holds, from those that a filling disk stops first to those that it stops last."""

    STRANGERS = "strangers"
    STAFF = "staff"
    CONTROL = "control"  # sign-in and administration
    LAST = "last"  # steward, supervisor, auditor


class JournalSettings(Section):
    """The durable local record."""

    segment_bytes: int = setting(
        64 * 2**20, "記録ファイルを区切る大きさ", "検証と複写の単位", unit="B", ge=65_536, le=2**32
    )
    segment_age: float = setting(3600.0, "記録ファイルを区切る時間", "検証と複写の単位", unit="s", ge=1, le=86_400)
    progress_each: float = setting(
        300.0, "続いている通信(WebSocket など)の途中経過を記録する間隔", "長い通信も終わる前に調べられる",
        unit="s", ge=10, le=3600,
    )  # fmt: skip
    anonymous_budget_per_minute: int = setting(
        60, "名乗らない拒否を1アドレスで個別に残す数", "超えた分は件数にまとめる", unit="件/分", ge=1, le=10_000
    )
    anonymous_total_per_minute: int = setting(
        6000, "名乗らない拒否をワーカー1つで個別に残す数", "多くのアドレスからの洪水でも索引を増やさない",
        unit="件/分", ge=60, le=100_000,
    )  # fmt: skip
    anonymous_total_bytes: int = setting(
        2**30, "名乗らない拒否の記録全体の上限", "外からの洪水でディスクを埋めさせない", unit="B", ge=2**20, le=2**40
    )
    disk_alarm_percent: float = setting(
        80.0, "空き容量の警告を出す使用率", "消す・増やす時間が残る", unit="%", ge=50, le=95
    )
    reserve_strangers_percent: float = setting(
        10.0, "名乗らない要求を件数だけにする空き", "職員の記録のために残す", unit="%", ge=2, le=40
    )
    reserve_staff_percent: float = setting(
        5.0, "職員の新しい要求を拒否する空き", "サインインと管理のために残す", unit="%", ge=1, le=30
    )
    reserve_control_percent: float = setting(
        3.0, "サインインと管理を拒否する空き", "失効と検証のために残す", unit="%", ge=0.5, le=20
    )
    reserve_last_percent: float = setting(
        1.0, "すべての記録を拒否する空き", "ディスクが満ちる前に止まる", unit="%", ge=0.2, le=10
    )
    reserve_most_bytes: int = setting(
        16 * 2**30, "名乗らない要求のために残す空きの上限(ほかは比例)", "大きいディスクでは割合が過大になる",
        unit="B", ge=2**30, le=2**44,
    )  # fmt: skip

    @model_validator(mode="after")
    def _room_is_left_in_order(self) -> Self:
        shares = [self._percent(kind) for kind in Writes]
        if not 100 - self.disk_alarm_percent > shares[0] or shares != sorted(set(shares), reverse=True):
            raise ValueError(
                "100 - disk_alarm_percent > reserve_strangers_percent > reserve_staff_percent"
                " > reserve_control_percent > reserve_last_percent"
            )
        return self

    def reserve(self, kind: Writes) -> Reserve:
        """Return what a journal of this kind leaves free.

        What is essential among the records of strangers and staff is kept as long as sign-in and administration are.
        """
        last = Writes.CONTROL if kind in (Writes.STRANGERS, Writes.STAFF) else kind
        return Reserve(self._floor(kind), self._floor(last))

    def reserves(self) -> dict[str, Reserve]:
        """Return every kind's reserve, the one that a filling disk stops first in front."""
        return {kind.value: self.reserve(kind) for kind in Writes}

    def _percent(self, kind: Writes) -> float:
        return float(getattr(self, f"reserve_{kind.value}_percent"))

    def _floor(self, kind: Writes) -> Floor:
        percent = self._percent(kind)
        return Floor(percent / 100, int(self.reserve_most_bytes * percent / self.reserve_strangers_percent))


class RetentionSettings(Section):
    """How long records are kept, by what they are about; a legal hold keeps them longer."""

    access_days: int = setting(
        365,
        "職員の利用の記録の保存",
        "1年。下限は6か月(文部科学省ハンドブック 令和7年3月)",
        unit="日",
        ge=184,
        le=36_500,
    )
    anonymous_days: int = setting(
        365, "名乗らない拒否の記録の保存", "攻撃の兆しを1年さかのぼれる", unit="日", ge=31, le=36_500
    )
    administration_days: int = setting(
        1095, "サインイン・管理操作の記録の保存", "3年。番号利用事務の監査に足りる", unit="日", ge=184, le=36_500
    )
    system_days: int = setting(
        1095, "プロセスと証明の記録の保存", "削除そのものの記録は期間を過ぎても残る", unit="日", ge=184, le=36_500
    )

    def seconds(self) -> dict[str, float]:
        """The ages by class (`audit.retention.RetentionClass`)."""
        return {
            "access": self.access_days * _DAY, "anonymous": self.anonymous_days * _DAY,
            "administration": self.administration_days * _DAY, "system": self.system_days * _DAY,
        }  # fmt: skip
