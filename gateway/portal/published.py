"""The pieces of refusal pages that workers show without us: frames with slots, the words of every reason, the policy.

A refusal has to work on every app host and while control is down, so the style stands in the page itself, and the
content security policy names it by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from gateway.portal.assets import content
from gateway.portal.language import LANGUAGES, reason_texts, texts
from gateway.portal.pages import render

if TYPE_CHECKING:
    from gateway.settings import Portal


def published_pages(portal: Portal) -> dict[str, str]:
    """Return `refusal.<language>`, `texts.<language>` and `refusal.csp` for the steward's `pages.put`."""
    style = _compact(content("sekisho.css").decode("utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    pages = {
        "refusal.csp": (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        )
    }
    for language in LANGUAGES:
        pages[f"refusal.{language}"] = _frame(portal, language, style)
        pages[f"texts.{language}"] = json.dumps(reason_texts(language), ensure_ascii=False, separators=(",", ":"))
    return pages


def _frame(portal: Portal, language: str, style: str) -> str:
    words = texts(language)
    return render(
        "refusal_frame.html",
        t=lambda key: words[key],
        organisation=portal.organisation,
        portal=portal.origin,
        icon=content("icon.svg").decode("utf-8").replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1),
        style=style,
    )


def _compact(style: str) -> str:
    """The style without blank space at line ends: it travels with every refusal."""
    return "".join(line.strip() for line in style.splitlines() if not line.startswith("/*"))
