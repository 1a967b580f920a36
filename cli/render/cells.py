"""Text from outside, made harmless: for terminals, for spreadsheets, for files."""

from __future__ import annotations

import json
import re

# Control codes (C0, DEL, C1) drive terminals; marks of direction, separators and what is not seen (Unicode's Cf) make
# text look like other text. Lone surrogates cannot be written at all.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "=", "+", "-", "@")


def visible(text: str) -> str:
    r"""The text with control codes and direction marks written out (`\x1b`), so that a terminal only shows them."""
    return _UNSAFE.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def unsafe(text: str) -> bool:
    """Whether the text holds something a terminal would act upon (line ends apart)."""
    return any(match[0] != "\n" for match in _UNSAFE.finditer(text))


def escape_json(document: str) -> str:
    r"""A JSON document with such characters as `\uXXXX`: the same values, harmless to look at."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else json.dumps(match[0])[1:-1], document)


def plain(value: object) -> str:
    """A value as one cell of text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)) and all(not isinstance(item, (dict, list)) for item in value):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def spreadsheet(value: object) -> str:
    """A cell that a spreadsheet shows and never evaluates (OWASP, CSV injection)."""
    text = plain(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return text
    return "'" + text if text.startswith(_FORMULA) else text
