"""受付番号: the name of one request, short enough to be read over the telephone.

Sixteen characters of Crockford's base 32: 45 bits of milliseconds since the epoch (until the year 3084), then 35 random
bits. Names sort by time. They are not secrets: knowing one gives no right to anything.
"""

from __future__ import annotations

from random import getrandbits

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16

_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # 10 bits each
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_TYPED = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\u3000": None})
_TIME_MASK = (1 << 45) - 1
_DRAWN = 256  # at once
_RANDOM = LENGTH - 9  # characters, 5 bits each
_CHARACTERS = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
_chances: list[str] = []  # drawn ahead
_latest: list[tuple[float, str]] = [(-1.0, "")]  # a time and its nine characters; swapped whole


def new_reference(wall: float) -> str:
    """Return a new request id for the time `wall` (seconds since the epoch)."""
    known, start = _latest[0]
    if known != wall:
        pairs = _PAIRS
        time = int(wall * 1000) & _TIME_MASK
        start = f"{pairs[time >> 35]}{pairs[time >> 25 & 1023]}{pairs[time >> 15 & 1023]}{pairs[time >> 5 & 1023]}"
        start += ALPHABET[time & 31]
        _latest[0] = (wall, start)
    try:
        return start + _chances.pop()
    except IndexError:
        return start + _draw()


def _draw() -> str:
    """Return the random part of one name, and keep many more: drawn together they cost a third."""
    size = _RANDOM * _DRAWN
    drawn = getrandbits(8 * size).to_bytes(size, "little").translate(_CHARACTERS).decode("ascii")
    one, *more = [drawn[at : at + _RANDOM] for at in range(0, size, _RANDOM)]
    _chances.extend(more)
    return one


def shown(reference: str) -> str:
    """Return the id as people see it: `XXXX-XXXX-XXXX-XXXX`."""
    return "-".join(reference[start : start + 4] for start in range(0, LENGTH, 4))


def parse_reference(text: str) -> str:
    """Return the id that a person meant: any case, with or without dashes and spaces, O for 0, I or L for 1.

    Raises ValueError when the text is no such id.
    """
    reference = text.strip().upper().translate(_TYPED)
    if len(reference) != LENGTH or any(character not in _VALUES for character in reference):
        raise ValueError("a reference has 16 letters and digits, such as 01JD-X4V2-9K3M-7QTB")
    return reference


def chance(reference: str) -> float:
    """Return a number in [0, 1) that an id brings along, as even as its random bits: the same for the same id."""
    return sum(_VALUES.get(character, 0) << 5 * place for place, character in enumerate(reference[-2:])) / 1024


def reference_time(reference: str) -> float:
    """Return the wall time (seconds since the epoch, to the millisecond) that the id was made at."""
    number = 0
    for character in reference:
        number = number << 5 | _VALUES[character]
    return (number >> 35) / 1000
