"""Folded stacks as a picture: a flame graph in plain SVG, without scripts, so that it is shown wherever documents are.

A box is as wide as its share of the CPU time; what it stands on called it. The order of neighbours says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 1200.0  # of the whole picture, in px
ROW: Final = 18
_SIDE: Final = 8.0
_TOP: Final = 62
_LETTER: Final = 6.3  # px of one letter of the text in a box
_LEAST: Final = 1.2  # px: what is narrower is not drawn, its caller is
COLOURS: Final = {
    "edge": "#f4a259", "gate": "#f7d154", "audit": "#8cb369", "python": "#d8cfc4", "native": "#9fc2e0",
    "kernel": "#e07a7a",
}  # fmt: skip
_TITLES: Final = {
    "edge": "gateway/edge", "gate": "gateway/gate", "audit": "audit", "python": "other Python",
    "native": "C of interpreter and libraries", "kernel": "system calls",
}  # fmt: skip

Stack = tuple[str, ...]  # from the root to the leaf


@dataclass
class Box:
    """One function with all that it called."""

    name: str
    samples: int = 0
    calls: dict[str, Box] = field(default_factory=dict)


def tree(stacks: Mapping[Stack, int]) -> Box:
    """Put all stacks together."""
    root = Box("worker")
    for stack, samples in stacks.items():
        box = root
        box.samples += samples
        for name in stack:
            box = box.calls.setdefault(name, Box(name))
            box.samples += samples
    return root


def kind(name: str) -> str:
    """Return which colour a frame gets, by where it lies."""
    if name.startswith("kernel: "):
        return "kernel"
    path = name.partition(" ")[0]
    for found, folder in (("edge", "gateway/edge/"), ("gate", "gateway/gate"), ("audit", "audit/")):
        if path.startswith(folder):
            return found
    return "python" if ".py" in path else "native"


def label(name: str, room: int) -> str:
    """Return the words in a box with `room` for so many letters: module, class and function, or as much as fits.

    The function is what stays longest; "" where not even its first letters would be seen.
    """
    path, _, function = name.partition(" ")
    words = f"{path.rpartition('/')[2].removesuffix('.py')}.{function}" if path.endswith(".py") else name
    while len(words) > room and "." in words:
        words = words.partition(".")[2].removeprefix("<locals>.")
    if len(words) <= room:
        return words
    return f"{words[: room - 1]}…" if room > 3 else ""


def _boxes(box: Box, left: float, level: int, scale: float) -> Iterator[tuple[Box, float, float, int]]:
    """Yield every box that can be seen, with its left edge, its width and how many it stands on."""
    width = box.samples * scale
    if width < _LEAST:
        return
    yield box, left, width, level
    for each in sorted(box.calls.values(), key=lambda called: called.name):
        yield from _boxes(each, left, level + 1, scale)
        left += each.samples * scale


def _legend() -> Iterator[str]:
    left = _SIDE
    for each, title in _TITLES.items():
        yield f'<rect x="{left:.0f}" y="40" width="12" height="12" fill="{COLOURS[each]}"/>'
        yield f'<text x="{left + 16:.0f}" y="50">{escape(title)}</text>'
        left += 34 + len(title) * 6.6


def render(stacks: Mapping[Stack, int], title: str) -> str:
    """Return the picture; raises ValueError without a sample."""
    root = tree(stacks)
    if not root.samples:
        raise ValueError("a flame graph needs samples, got none")
    boxes = list(_boxes(root, _SIDE, 0, (WIDTH - 2 * _SIDE) / root.samples))
    levels = max(level for *_, level in boxes) + 1
    height = _TOP + levels * ROW + 8
    size = f'viewBox="0 0 {WIDTH:.0f} {height}" width="{WIDTH:.0f}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_SIDE:.0f}" y="22" font-size="14">{escape(title)}</text>',
        *_legend(),
    ]
    for box, left, width, level in boxes:
        top = _TOP + (levels - 1 - level) * ROW
        share = f"{box.samples / root.samples:.1%}"
        room = int((width - 6) / _LETTER)
        shown = label(box.name, room)
        text = f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(shown)}</text>' if shown else ""
        lines.append(
            f"<g><title>{escape(box.name)} · {share}</title>"
            f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.5):.1f}" height="{ROW - 1}" rx="1" '
            f'fill="{COLOURS[kind(box.name)]}"/>{text}</g>'
        )
    return "\n".join([*lines, "</svg>", ""])
