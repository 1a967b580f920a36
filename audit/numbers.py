"""Numbers of persons that may stand in no record, known by their check digits: 個人番号 and payment card numbers.

個人番号: 12 digits, the last by 平成26年総務省令第85号 第5条. Cards: 13 to 19 digits, ISO/IEC 7812-1 (Luhn, and the
first digits of the issuers in use). What is found is replaced by a word, not by a digest: even an encrypted 個人番号 is
one in law (番号法 第2条第8項 takes in what stands in its place), so a record that held a digest of it would itself be
特定個人情報.

Digits count in every spelling that NFKC folds into them (full-width, circled …) and percent-encoded; groups of them may
stand apart by one kind of blank or hyphen. A group of 13 digits or more is never a 個人番号, and a group is never cut.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

PERSONAL: Final = "[個人番号]"
CARD: Final = "[カード番号]"

SHORTEST: Final = 12
_LONGEST_CARD: Final = 19
DIGITS: Final = b"0123456789"
_APART: Final = r"[ +_-]{1,3}"
_RUN: Final = re.compile(rf"[0-9]+(?:{_APART}[0-9]+)*", re.ASCII)
_GROUP: Final = re.compile(rf"([0-9]+)({_APART})?", re.ASCII)
_HEX: Final = "[0-9A-Fa-f]"
_NAMES: Final = re.compile(rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|{_HEX}{{24,}}", re.ASCII)
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_HYPHENS: Final = dict.fromkeys(map(ord, "‐‑‒–—―−ー－﹣"), "-")
_DOUBLED: Final = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}
_LOOKED_INTO: Final = 256  # groups of digits that stand apart, in one text: what comes beyond is hidden unread
_WEIGHTS: Final = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)  # Q_n of the 省令, for the digits from the left
# Visa; Mastercard (two ranges); JCB; American Express; Diners; Discover and UnionPay.
_ISSUERS: Final = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(?:2[89]|[3-8])|3[47]|3(?:0[0-5]|09|[689])|6(?:011|4[4-9]|5)|62"
)


def is_personal(digits: str) -> bool:
    """Whether ASCII digits are a 個人番号: twelve, the last 11 - (Σ PnQn mod 11), or 0 for a remainder of 0 or 1."""
    if len(digits) != SHORTEST:
        return False
    left = sum(int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=False)) % 11
    return int(digits[-1]) == (0 if left <= 1 else 11 - left)


def is_card(digits: str) -> bool:
    """Whether 13 to 19 ASCII digits are a card number: an issuer in use, and the sum of Luhn."""
    if not SHORTEST < len(digits) <= _LONGEST_CARD or _ISSUERS.match(digits) is None:
        return False
    return (sum(map(int, digits[::-2])) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))) % 10 == 0


def may_hold(raw: bytes) -> bool:
    """Tell cheaply whether bytes can hold such a number at all: twelve ASCII digits, or what may be others.

    Percent-encoding does not hide one: a digit's escape (`%31`) has digits itself, and so has every other escape that
    NFKC folds into one (`%EF%BC%91`).
    """
    return len(raw) >= SHORTEST and (len(raw) - len(raw.translate(None, DIGITS)) >= SHORTEST or not raw.isascii())


def masked(text: str) -> str:
    """Return `text` with every number of a person replaced by the word for its kind; other text stays as it is."""
    if len(text) < SHORTEST:
        return text
    if "%" not in text:
        if sum(map(str.isdigit, text)) < SHORTEST:
            return text
        if text.isascii():
            return _replaced(text, text, range(len(text) + 1))
    return _masked_folded(text)


def holds(text: str) -> bool:
    """Whether a number of a person stands in `text`."""
    return masked(text) != text


def _masked_folded(text: str) -> str:
    folded: list[str] = []
    places: list[int] = []  # where each folded character comes from in `text`
    last = 0
    for begin, end, plain in _plain(text):
        for character in plain:
            folds = _fold(character)
            folded.append(folds)
            places.extend([begin] * len(folds))
        last = end
    return _replaced(text, "".join(folded), [*places, last])


def _plain(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (begin, end, text) with percent-encoded characters decoded, each piece as small as it can be."""
    at = 0
    for found in _ESCAPES.finditer(text):
        yield from ((place, place + 1, text[place]) for place in range(at, found.start()))
        at = found.start()
        for character in bytes.fromhex(found[0].replace("%", "")).decode(errors="surrogateescape"):
            width = 3 * len(character.encode(errors="surrogateescape"))
            yield at, at + width, character
            at += width
    yield from ((place, place + 1, text[place]) for place in range(at, len(text)))


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    digit = unicodedata.digit(character, -1)  # also of scripts that NFKC leaves alone
    return str(digit) if digit >= 0 else unicodedata.normalize("NFKC", character).translate(_HYPHENS)


def _replaced(text: str, folded: str, places: range | list[int]) -> str:
    kept: list[str] = []
    done = 0
    for begin, end, word in _found(folded):
        kept += [text[done : places[begin]], word]
        done = places[end]
    return "".join([*kept, text[done:]]) if kept else text


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (begin, end, word) of each number, from the left, none within another."""
    left = _LOOKED_INTO
    text = _NAMES.sub(lambda name: name[0] if name[0].isdigit() else "x" * len(name[0]), text)
    for run in _RUN.finditer(text):
        if len(run[0]) < SHORTEST:
            continue
        groups = [(each.start(1), each.end(1), each[2] or "") for each in _GROUP.finditer(text, *run.span())]
        left -= len(groups) - 1
        if left < 0 and len(groups) > 1:  # nobody writes so: a long text must not cost a worker its time
            yield *run.span(), PERSONAL
            continue
        first = 0
        while first < len(groups):
            last, word = _longest(text, groups, first)
            if word:
                yield groups[first][0], groups[last][1], word
                first = last
            first += 1


def _longest(text: str, groups: list[tuple[int, int, str]], first: int) -> tuple[int, str]:
    """Return the last group and the word of the longest number that begins with group `first`; "" = none does."""
    digits, best = "", (first, "")
    for last in range(first, min(len(groups), first + _LONGEST_CARD)):
        begin, end, _ = groups[last]
        digits += text[begin:end]
        if len(digits) > _LONGEST_CARD or (last > first and groups[last - 1][2] != groups[first][2]):
            break
        if is_personal(digits):
            best = last, PERSONAL
        elif is_card(digits):
            best = last, CARD
    return best
