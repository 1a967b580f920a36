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
_ENCODED: Final = re.compile(rb"/(?:[A-Za-z0-9_~!$&'()*+,=:@./-]|%[0-9A-Fa-f]{2})*")
# What browsers leave unencoded in a query (URL Standard, query percent-encode set), without "\" which some servers
# turn into "/", and without "#", which never belongs into a target.
_QUERY: Final = re.compile(rb"[A-Za-z0-9_~!$&'()*+,=:@./?;%|{}^`\[\]-]*")
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_DOUBLE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")
_SEPARATORS: Final = frozenset(b"/\\;")


def _fault(detail: str) -> RequestFault:
    return RequestFault(400, Reason.PATH_NOT_CANONICAL, detail)


def canonical(raw: bytes) -> tuple[bytes, str, bytes | None]:
    """Return (path as sent, path decoded for policy, query without "?" or None) of an origin-form target.

    Hexadecimal digits of escapes come out in upper case and `%7E` as `~` (RFC 3986 §6.2.2); nothing else changes.
    Raises RequestFault 400 where the target is not origin-form or not canonical.
    """
    mark = raw.find(b"?")
    if mark < 0:
        path, query = raw, None
    else:
        path, query = raw[:mark], raw[mark + 1 :]
        if _QUERY.fullmatch(query) is None:
            raise _fault("query holds a character that must be encoded")
    if _PLAIN.fullmatch(path) is not None:
        if b"//" in path or b"./" in path or path.endswith(b"."):
            raise _fault("empty segment, dot segment or segment ending in a dot")
        return path, path.decode("ascii"), query
    if not path.startswith(b"/"):
        raise _fault("target is not in origin form")
    if _ENCODED.fullmatch(path) is None:
        raise _fault("path holds a character that must be encoded, a parameter or a broken escape")
    path = _ESCAPE.sub(_spell, path)
    return path, _decode(path), query


def _spell(found: re.Match[bytes]) -> bytes:
    escape = found[0].upper()
    byte = int(escape[1:], 16)
    if byte == 0x7E:
        return b"~"
    if byte in _UNRESERVED:
        raise _fault("encoded byte that needs no encoding")
    if byte in _SEPARATORS:
        raise _fault("encoded separator")
    if byte < 0x20 or byte == 0x7F:
        raise _fault("encoded control character")
    return escape


def _decode(path: bytes) -> str:
    decoded = unquote_to_bytes(path)
    if _DOUBLE.search(decoded) is not None:
        raise _fault("doubly encoded byte")
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _fault("path is not UTF-8") from error
    for segment in text.split("/")[1:-1]:
        if not segment or segment[-1] in ". ":
            raise _fault("empty segment, or segment ending in a dot or space")
    if text[-1] in ". ":
        raise _fault("segment ending in a dot or space")
    if any("\x80" <= character <= "\x9f" or character in "\u2028\u2029" for character in text):
        raise _fault("control character in the decoded path")
    return text
