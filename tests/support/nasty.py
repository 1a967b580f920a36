"""What a client may send to forge a record, drive a terminal or start a formula; and a record's texts read back."""

from __future__ import annotations

import re

NASTY: dict[str, bytes] = {
    "line ends": b'a\r\n{"body":{"event.action":"forged"}}\n', "escape": b"\x1b[2J\x1b]0;t\x07", "nul": b"a\x00b",
    "separators": "a\u2028b\u2029c\x85d".encode(), "quotes": b'","user.id":"root"', "backslashes": b"\\\\x41\\n\\",
    "bidirectional": "\u202egnp.exe\u2066\u061c\u200f".encode(), "unseen": "a\u200b\ufeff\U000e0041".encode(),
    "not UTF-8": b"\xff\xfe\x80\xc3(", "surrogate": b"\xed\xa0\x80", "overlong": b"\xc0\xaf", "shift_jis": b"\x8a\xd6",
    "formula": b'=HYPERLINK("http://x",1)', "plus": b"+1+cmd|' /C calc'!A0", "at": b"@SUM(1)", "minus": b"-2+3",
    "looks escaped": b"\\xff\\ud800", "astral": "\U0001f3ef".encode(), "markup": b"<script>[bold red]{{7*7}}%s%n",
}  # fmt: skip

_ESCAPED = re.compile(rb"\\\\|\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")


def recovered(told: str) -> bytes:
    """The bytes that a record's text was made from: the inverse of `audit.event.text`, written apart from it."""

    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 16)])
        return chr(int(match[2], 16)).encode(errors="surrogatepass") if match[2] else b"\\"

    return _ESCAPED.sub(plain, told.encode())
