"""Japanese or English: each text stands in both, side by side, where it is used."""

from __future__ import annotations

import os
import sys
from functools import cache


@cache
def english() -> bool:
    """Whether messages are English: `--lang en`, `SEKISHO_LANG=en`, or an English locale."""
    arguments = sys.argv[1:]
    for index, argument in enumerate(arguments):
        if argument == "--lang" and index + 1 < len(arguments):
            return arguments[index + 1].startswith("en")
        if argument.startswith("--lang="):
            return argument.removeprefix("--lang=").startswith("en")
    chosen = os.environ.get("SEKISHO_LANG") or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES")
    return (chosen or os.environ.get("LANG", "")).startswith("en")


def t(ja: str, en: str) -> str:
    """The text in the language of this run."""
    return en if english() else ja
