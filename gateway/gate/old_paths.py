"""The two named exceptions by which the path of an old app is read; all else stays as strict as for every app.

An app has them by name, approved by a second person (design §4). They widen what is one path, never what a path is
judged by: policy, records and our own addresses see the path without the parameter, and text instead of bytes.

- `jsessionid`: Java apps write their session into addresses, `/a/list.do;jsessionid=0A1B…?x=1` (Servlet 2.4,
  SRV.7.1.3). One such parameter at the end of the last segment is taken off before policy and put back behind what
  was judged. It is a session's secret: it goes to the app and nowhere else.
- `shift_jis`: paths whose escapes are Shift_JIS as Windows writes it (code page 932). Decoded first, then judged: the
  second byte of 表 is that of a backslash, and no separator. Every character has one spelling, both its bytes escaped.
  A segment that UTF-8 could be read into as well is refused: nobody can know which of the two the app will see.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from gateway.gate.request import OldAppHead, PathExceptions, RequestHead
from gateway.gate.route import is_own
from gateway.gate.target import ENCODED, check_text, fault, spell, spell_escape, split

if TYPE_CHECKING:
    from gateway.state.records import App

JSESSIONID: Final = "jsessionid"
SHIFT_JIS: Final = "shift_jis"

_PARAMETER: Final = re.compile(rb";jsessionid=[A-Za-z0-9.!_-]{1,128}")
# One escape of a character that is more than itself in code page 932: its first byte, and whatever stands behind it.
_UNIT: Final = re.compile(rb"%(?:8[1-9A-F]|9[0-9A-F]|E[0-9A-F]|F[0-9A-C])(?:%[0-9A-F]{2}|[^%])?|%[0-9A-F]{2}")
_KATAKANA: Final = range(0xA1, 0xE0)  # half-width, one byte each
_CHOSEN_BY_NEC: Final = range(0xED, 0xEF)
_IBM: Final = range(0xFA, 0xFD)
_PLAIN_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_CODE_PAGE: Final = "cp932"
_FULL_WIDTH_BACKSLASH: Final = "\uff3c"  # what JIS X 0208 itself calls the backslash: some readers fold it


def exceptions_of(app: App) -> PathExceptions | None:
    """Return the exceptions that an app's registration names, None where it names none."""
    if not app.path_parameter and not app.path_charset:
        return None
    return PathExceptions(app.path_parameter == JSESSIONID, app.path_charset == SHIFT_JIS)


def read_path(head: RequestHead, target: bytes, exceptions: PathExceptions) -> OldAppHead:
    """Return `head` with its path read as the app's exceptions allow; raises RequestFault 400."""
    old = OldAppHead()
    for name in RequestHead.__slots__:
        if hasattr(head, name):
            setattr(old, name, getattr(head, name))
    old.exceptions = exceptions
    old.path, old.path_text, old.query, old.parameter = canonical_for(target, exceptions)
    return old


def canonical_for(raw: bytes, exceptions: PathExceptions) -> tuple[bytes, str, bytes | None, bytes]:
    """Return (path, path decoded for policy, query, parameter with its ";" or b"") of an origin-form target.

    What is sent to the app is path, parameter and query in this order. Raises RequestFault 400 where the target is
    not canonical by these exceptions.
    """
    path, query = split(raw)
    parameter = b""
    if exceptions.jsessionid and (mark := path.find(b";")) >= 0:
        path, parameter = path[:mark], path[mark:]
        if _PARAMETER.fullmatch(parameter) is None:
            raise fault("parameter other than one jsessionid at the path's end")
        if is_own(path):
            raise fault("parameter on one of the gateway's own pages")
    path, text = (_shift_jis if exceptions.shift_jis else spell)(path)
    return path, text, query, parameter


def _shift_jis(path: bytes) -> tuple[bytes, str]:
    """Return the one spelling of a path in Shift_JIS, and its text."""
    if b"%" not in path:
        return spell(path)
    if ENCODED.fullmatch(path) is None:
        return spell(path)  # whose words for the fault are the same
    path = _UNIT.sub(_character, _PLAIN_ESCAPE.sub(lambda found: found[0].upper(), path))
    decoded = unquote_to_bytes(path)
    if any(map(_is_utf8, decoded.split(b"/"))):
        raise fault("segment that can be read as UTF-8 as well as Shift_JIS")
    text = decoded.decode(_CODE_PAGE)
    check_text(text)
    if _FULL_WIDTH_BACKSLASH in text:
        raise fault("encoded separator")
    return path, text


def _is_utf8(segment: bytes) -> bool:
    if segment.isascii():
        return False
    try:
        segment.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _character(found: re.Match[bytes]) -> bytes:
    """Return the one spelling of an escape, with the byte behind it where the two are one character."""
    unit = found[0]
    first = int(unit[1:3], 16)
    if first in _KATAKANA:
        return unit
    if first < 0x80:
        return spell_escape(unit)
    pair = unquote_to_bytes(unit)
    try:
        again = pair.decode(_CODE_PAGE).encode(_CODE_PAGE)
    except UnicodeError as error:
        raise fault("path is not Shift_JIS") from error
    if len(pair) != 2:  # single bytes that Windows takes for themselves and nobody else knows
        raise fault("path is not Shift_JIS")
    # Some characters stand in the code page two or three times. Windows and Java write those of IBM's extension there,
    # Python writes them as NEC chose them.
    if first in _CHOSEN_BY_NEC or (again != pair and not (again[0] in _CHOSEN_BY_NEC and first in _IBM)):
        raise fault("second spelling of a character of Shift_JIS")
    return b"%%%02X%%%02X" % (pair[0], pair[1])
