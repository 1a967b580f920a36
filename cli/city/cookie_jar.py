"""The cookie file of Netscape's form that curl reads with `-b` (curl, "HTTP cookies", docs/HTTP-COOKIES.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.private_file import write_private

if TYPE_CHECKING:
    import aiohttp


def write(path: Path, jar: aiohttp.CookieJar) -> int:
    """Write every cookie, host-only and for this session; returns how many. Raises Failure."""
    lines = ["# Netscape HTTP Cookie File"]
    for cookie in sorted(jar, key=lambda each: (each["domain"], each.key)):
        fields = (
            f"#HttpOnly_{cookie['domain']}",
            "FALSE",
            cookie["path"] or "/",
            "TRUE",
            "0",
            cookie.key,
            cookie.value,
        )
        lines.append("\t".join(fields))
    write_private(path, "\n".join(lines) + "\n", replace=True)
    return len(lines) - 1
