"""The page of a refusal: control's rendered frame with our values in its slots, every value escaped.

Control publishes `refusal.ja` and `refusal.en`: whole HTML pages with the slots below, written `%%NAME%%`. A value can
never open a slot, because values are put in by one pass over the frame.

TITLE, WHAT, DO, MESSAGE (words of a person, may be empty), DETAILS (a list, or nothing), ACTIONS (links), REFERENCE
(受付番号), CONTACT (whom to ask), REASON (its code), LANGUAGE.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

FRAME: Final = """<!doctype html>
<html lang="%%LANGUAGE%%"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%%TITLE%%</title></head>
<body><main><h1>%%TITLE%%</h1><p>%%WHAT%%</p>%%MESSAGE%%<p>%%DO%%</p>%%DETAILS%%%%ACTIONS%%
<p>%%CONTACT%%</p><p>%%REFERENCE%%</p></main></body></html>
"""

_SLOT: Final = re.compile("%%([A-Z]+)%%")


@dataclass(frozen=True, slots=True)
class Link:
    """Something to press. `new_tab` keeps the refused page, so that a form can be sent again."""

    text: str
    address: str
    new_tab: bool = False


@dataclass(frozen=True, slots=True)
class PageContent:
    """What one refusal page says; all plain text."""

    language: str
    reason: str
    title: str
    what: str
    do: str
    reference: str
    contact: str  # whom to ask
    message: str = ""
    details: Sequence[str] = ()
    links: Sequence[Link] = ()


def render(frame: str, content: PageContent) -> bytes:
    """Return the page; `frame` "" means the built-in one."""
    values = {
        "LANGUAGE": escape(content.language),
        "REASON": escape(content.reason),
        "TITLE": escape(content.title),
        "WHAT": escape(content.what),
        "DO": escape(content.do),
        "MESSAGE": f"<p>{escape(content.message)}</p>" if content.message else "",
        "DETAILS": _details(content.details),
        "ACTIONS": _actions(content.links),
        "CONTACT": escape(content.contact),
        "REFERENCE": escape(content.reference),
    }
    return _SLOT.sub(lambda slot: values.get(slot[1], ""), frame or FRAME).encode()


def _details(details: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(detail)}</li>' for detail in details)}</ul>" if details else ""


def _actions(links: Sequence[Link]) -> str:
    if not links:
        return ""
    tab = ' target="_blank" rel="noopener"'
    items = (
        f'<li><a href="{escape(link.address)}"{tab if link.new_tab else ""}>{escape(link.text)}</a></li>'
        for link in links
    )
    return f"<ul>{''.join(items)}</ul>"
