"""What one worker grants each server of an app, and when it leaves one alone."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from gateway.settings_parts.field import Section, setting


class Upstreams(Section):
    """Connections to apps; every bound counts for one worker and one address."""

    connections: int = setting(
        256, "アプリの1サーバーが同時に受け持つ要求の上限", "古い業務サーバーの処理の数を超えて押し寄せない",
        unit="個", ge=1, le=10_000,
    )  # fmt: skip
    queue: int = setting(
        1024,
        "上限を超えて待たせる要求の数",
        "朝の集中は待てば済む。超えた分と、待っても間に合わない分はすぐ断る",
        unit="個",
        ge=0,
        le=100_000,
    )
    queue_wait: float = setting(10.0, "待たせる時間", "これ以上は職員が押し直し、かえって混む", unit="s", gt=0, le=300)
    idle: float = setting(
        60.0, "使わない接続を保つ時間", "アプリ側の既定(20 から 75 秒)の間。先に切られても安全にやり直す",
        unit="s", gt=0, le=600,
    )  # fmt: skip
    breaker_failures: int = setting(
        3,
        "続けて何回失敗したら送るのを控えるか",
        "1、2回は一時的な失敗。正しい応答があれば数え直す",
        unit="回",
        ge=1,
        le=100,
    )
    breaker_first: float = setting(1.0, "控える最初の時間", "再起動の短いアプリを待たせない", unit="s", ge=0.1, le=60)
    breaker_longest: float = setting(
        30.0, "控える時間の上限(確かめるたびに倍)", "復旧から利用の再開までの最も長い時間", unit="s", ge=1, le=600
    )

    @model_validator(mode="after")
    def _time_grows(self) -> Self:
        if self.breaker_longest < self.breaker_first:
            raise ValueError("breaker_longest not below breaker_first")
        return self
