"""What a command's record says of what was asked: nothing that the records it asks about would not say.

Who searches for `/residents/100001`, or for a word of digits, writes the value down in the record of the search.
So the masks of the apps' registrations hold there as well: `~` stands for a segment that any app masks, for a query's
values, and for such a word. Numbers of persons are hidden by `audit.event`, as in every record.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.admin.unlinking import unlinked
from gateway.gate.masking import SHOWN, masked_path
from gateway.state.records import App

_WORDS: Final = re.compile(r"(\s+)")
_FREE: Final = frozenset({"text"})  # the argument in which people look for anything
_DIGITS: Final = 5  # of a word in it that may be a resident's number
_NO_KEY: Final = b"\0"  # the digests are not kept


def asked(arguments: Mapping[str, Any], apps: Iterable[App]) -> dict[str, Any]:
    """Return the arguments of a command as its record may have them."""
    masks = tuple({template for app in apps for template in app.masked_paths})
    return unlinked({name: _shown(value, masks, free=name in _FREE) for name, value in arguments.items()})


def _shown(value: Any, masks: tuple[str, ...], *, free: bool) -> Any:
    if isinstance(value, str):
        return "".join(_word(word, masks, free=free) for word in _WORDS.split(value))
    if isinstance(value, dict):
        return {name: _shown(item, masks, free=free) for name, item in value.items()}
    return [_shown(item, masks, free=free) for item in value] if isinstance(value, (list, tuple)) else value


def _word(word: str, masks: tuple[str, ...], *, free: bool) -> str:
    if free and _is_number(word):
        return SHOWN
    start = word.find("/", word.find("://") + 3 if "://" in word else 0)  # behind the host of an address
    if start < 0:
        return word
    path, mark, _ = word[start:].partition("?")
    return word[:start] + masked_path(path, masks, _NO_KEY) + (mark + SHOWN if mark else "")


def _is_number(word: str) -> bool:
    digits = unicodedata.normalize("NFKC", word).replace("-", "")
    return len(digits) >= _DIGITS and digits.isdecimal()
