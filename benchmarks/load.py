"""The load that every candidate gets: a browser's request with our cookie, and an app's answer of 978 bytes."""

from __future__ import annotations

from typing import Final

BODY: Final = b'{"items": "' + b"x" * 965 + b'"}'
ANSWER_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(BODY)
)
TARGET: Final = "/api/items?page=1"
HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "ja,en-US;q=0.7,en;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://docs.sekisho.localhost/somewhere",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
}
"""What a browser sends besides Host and Cookie."""


def cookie(token: str) -> str:
    """Our cookie between two of the app's own."""
    return f"theme=dark; __Host-sekisho-app={token}; a={'b' * 80}"


def request_bytes(host: str, token: str) -> bytes:
    """One whole request."""
    fields = {"Host": host, **HEADERS, "Cookie": cookie(token)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {TARGET} HTTP/1.1\r\n{lines}\r\n".encode("ascii")
