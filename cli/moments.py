"""Times as people type and read them: `24h`, `今日`, RFC 3339, 和暦; shown in Japan time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from cli.language import t

_JST = timezone(timedelta(hours=9))
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(?:\d+[smhdw])+\Z")
_PART = re.compile(r"(\d+)([smhdw])")
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925, "R": 2018, "H": 1988, "S": 1925}
_ERA_DAY = re.compile(
    r"(令和|平成|昭和|[RHS])(元|\d{1,2})[年.](\d{1,2})[月.](\d{1,2})日?(?:\s*(\d{1,2})[時:](?:(\d{1,2})分?)?)?\Z"
)


_NAMED = {
    "今日": "today", "昨日": "yesterday", "今週": "week", "今月": "month", "今年度": "fiscal",
}  # fmt: skip
_APRIL = 4


def _start_of(name: str, now: float) -> datetime:
    """The first moment in Japan of today, yesterday, this week (from Monday), month or fiscal year (from April)."""
    today = datetime.fromtimestamp(now, _JST).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = {
        "today": today,
        "yesterday": today - timedelta(days=1),
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
        "fiscal": today.replace(year=today.year - (today.month < _APRIL), month=_APRIL, day=1),
    }
    return begins[name]


def parse_span(text: str) -> float:
    """Seconds of `90s`, `24h`, `1d12h`; raises ValueError."""
    if not _SPAN.match(text):
        raise ValueError(t("時間は 90s、24h、7d のように指定してください", "give a duration such as 90s, 24h or 7d"))
    return float(sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def parse_moment(text: str, now: float) -> float:
    """Epoch seconds of a duration before `now`, a named day or period, an RFC 3339 time or a Japanese era date.

    Raises ValueError.
    """
    typed = text.strip()
    named = _NAMED.get(typed, typed)
    if named in _NAMED.values():
        return _start_of(named, now).timestamp()
    if _SPAN.match(typed):
        return now - parse_span(typed)
    era = _ERA_DAY.match(typed)
    if era:
        name, year, month, day, hour, minute = era.groups()
        years = 1 if year == "元" else int(year)
        moment = datetime(_ERAS[name] + years, int(month), int(day), int(hour or 0), int(minute or 0), tzinfo=_JST)
        return moment.timestamp()
    try:
        parsed = datetime.fromisoformat(typed)
    except ValueError:
        expected = t(
            "時刻は 24h、今日、2026-11-22T09:00+09:00、令和8年11月22日 のように指定してください",
            "give a time such as 24h, today, 2026-11-22T09:00+09:00 or 令和8年11月22日",
        )
        raise ValueError(expected) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=_JST)).timestamp()


def shown(at: object) -> str:
    """Epoch seconds as date and time in Japan, "-" where there is none."""
    if not isinstance(at, (int, float)):
        return "-"
    return datetime.fromtimestamp(at, _JST).strftime("%Y-%m-%d %H:%M:%S")


def short(at: object) -> str:
    """Epoch seconds as month, day and time, for narrow tables."""
    if not isinstance(at, (int, float)):
        return "-"
    return datetime.fromtimestamp(at, _JST).strftime("%m-%d %H:%M")


def clock(text: object) -> str:
    """An RFC 3339 text as month, day and time in Japan; other text as it is."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(_JST).strftime("%m-%d %H:%M:%S")
    except ValueError:
        return str(text)


def age(seconds: object) -> str:
    """Seconds as one number and unit: `3分前` or `3m`."""
    if not isinstance(seconds, (int, float)):
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
