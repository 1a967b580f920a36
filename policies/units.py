"""How durations, times of day and dates are written in a policy, and read back in explanations."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES: Final = (("d", 86400), ("h", 3600), ("m", 60))
JST: Final = timezone(timedelta(hours=9), "JST")


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `15m`, `12h`, `30d`, `90s`; raises ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration such as 15m, 12h or 30d")
    return float(int(match[1]) * _SECONDS[match[2]])


def format_duration(seconds: float) -> str:
    """The shortest exact writing of whole seconds (`3600` → `1h`); a fraction is rounded down."""
    whole = int(seconds)
    for unit, size in _SIZES:
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def rough_duration(seconds: float) -> str:
    """A duration for reading: at most two units (`73510` → `20h25m`)."""
    whole = max(int(seconds), 0)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    parts = [f"{days}d" * bool(days), f"{hours}h" * bool(hours), f"{minutes}m" * bool(minutes and not days)]
    return "".join(parts) or f"{whole}s"


def parse_clock(text: str) -> int:
    """Minutes since midnight of `HH:MM`, up to `24:00`; raises ValueError for anything else."""
    match = _CLOCK.fullmatch(text)
    if match is None or (match[1] == "24" and match[2] != "00"):
        raise ValueError("a time of day such as 08:30")
    return int(match[1]) * 60 + int(match[2])


def format_clock(minutes: float) -> str:
    """`HH:MM` of minutes since midnight."""
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}"


def parse_instant(text: str) -> float:
    """Epoch seconds of a date (its beginning, Japan time) or of an RFC 3339 time with offset; raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a date such as 2027-03-31 or a time such as 2027-03-31T17:00:00+09:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=JST)).timestamp()


def format_instant(seconds: float) -> str:
    """The date and time in Japan."""
    return datetime.fromtimestamp(seconds, JST).strftime("%Y-%m-%d %H:%M")
