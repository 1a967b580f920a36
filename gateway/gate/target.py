"""One canonical path, decided before policy and sent to the app as decided.

The app's own server may decode, normalise or split a path in ways unknown to us. So a path is taken only if every
reasonable reader sees the same segments in it: RFC 3986 §3.3 characters, no encoded byte that needed no encoding,
nothing that some server treats as a separator, a parameter or a dot segment. Everything else is a 400.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.gate.request import RequestFault
from policies.reasons import Reason

_PLAIN: Final = re.compile(rb"/[A-Za-z0-9_~!$&'()*+,=:@./-]*")
ENCODED: Final = re.compile(rb"/(?:[A-Za-z0-9_~!$&'()*+,=:@./-]|%[0-9A-Fa-f]{2})*")
# What browsers leave unencoded in a query (URL Standard, query percent-encode set), without "\" which some servers
# turn into "/", and without "#", which never belongs into a target.
_QUERY: Final = re.compile(rb"[A-Za-z0-9_~!$&'()*+,=:@./?;%|{}^`\[\]-]*")
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_DOUBLE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")
_SEPARATORS: Final = frozenset(b"/\\;")


def fault(detail: str) -> RequestFault:
    """Return the fault of a target that is not canonical."""
    return RequestFault(400, Reason.PATH_NOT_CANONICAL, detail)


def canonical(raw: bytes) -> tuple[bytes, str, bytes | None]:
    """Return (path as sent, path decoded for policy, query without "?" or None) of an origin-form target.

    Hexadecimal digits of escapes come out in upper case and `%7E` as `~` (RFC 3986 §6.2.2); nothing else changes.
    Raises RequestFault 400 where the target is not origin-form or not canonical.
    """
    path, query = split(raw)
    return *spell(path), query


def split(raw: bytes) -> tuple[bytes, bytes | None]:
    """Return (path, query without "?" or None) of a target; raises RequestFault 400 for what no query may hold."""
    mark = raw.find(b"?")
    if mark < 0:
        return raw, None
    query = raw[mark + 1 :]
    if _QUERY.fullmatch(query) is None:
        raise fault("query holds a character that must be encoded")
    return raw[:mark], query


def spell(path: bytes) -> tuple[bytes, str]:
    """Return the one spelling of a path, and its text; raises RequestFault 400 where it has more readings."""
    if _PLAIN.fullmatch(path) is not None:
        if b"//" in path or b"./" in path or path.endswith(b"."):
            raise fault("empty segment, dot segment or segment ending in a dot")
        return path, path.decode("ascii")
    if not path.startswith(b"/"):
        raise fault("target is not in origin form")
    if ENCODED.fullmatch(path) is None:
        raise fault("path holds a character that must be encoded, a parameter or a broken escape")
    path = _ESCAPE.sub(_spell, path)
    decoded = unquote_to_bytes(path)
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault("path is not UTF-8") from error
    check_text(text)
    return path, text


def _spell(found: re.Match[bytes]) -> bytes:
    return spell_escape(found[0].upper())


def spell_escape(escape: bytes) -> bytes:
    """Return the one spelling of `%XX` in upper case; raises RequestFault 400 where the byte needs no escape."""
    byte = int(escape[1:], 16)
    if byte == 0x7E:
        return b"~"
    if byte in _UNRESERVED:
        raise fault("encoded byte that needs no encoding")
    if byte in _SEPARATORS:
        raise fault("encoded separator")
    if byte < 0x20 or byte == 0x7F:
        raise fault("encoded control character")
    return escape


def check_text(text: str) -> None:
    """Raise RequestFault 400 where the text of a path could be decoded, split or trimmed once more."""
    if _DOUBLE.search(text) is not None:
        raise fault("doubly encoded byte")
    for segment in text.split("/")[1:-1]:
        if not segment or segment[-1] in ". ":
            raise fault("empty segment, or segment ending in a dot or space")
    if text[-1] in ". ":
        raise fault("segment ending in a dot or space")
    if any("\x80" <= character <= "\x9f" or character in "\u2028\u2029" for character in text):
        raise fault("control character in the decoded path")
