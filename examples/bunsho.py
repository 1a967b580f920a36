"""文書管理 (sample): a web application as they were written in 2009.

It keeps its own session in a cookie `JSESSIONID` (no Secure, no SameSite), redirects with absolute URLs built from the
address it listens on, sends HTTP/1.0-style answers without a length, and writes Shift_JIS pages.
Run: python examples/bunsho.py PORT
"""

from __future__ import annotations

import secrets
import sys
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

SESSIONS: dict[str, str] = {}
DOCUMENTS = ["起案 第1号 職員研修の実施について", "起案 第2号 庁舎の清掃委託について"]


class Bunsho(BaseHTTPRequestHandler):
    """One request of the old application."""

    server_version = "Bunsho/1.2 (servlet 2.4)"
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Serve the login form, the list, or the health path."""
        if self.path == "/health":
            self._page("ok")
        elif self.path.startswith("/login.do"):
            user = self.headers.get("Remote-User", "")
            self._page(
                f'<form method="post" action="/login.do">利用者 <input name="user" value="{user}">'
                '<input type="submit" value="ログイン"></form>'
            )
        elif self._user():
            items = "".join(f"<li>{title}</li>" for title in DOCUMENTS)
            self._page(f'<p>{self._user()} でログイン中</p><ul>{items}</ul><a href="/logout.do">ログアウト</a>')
        else:
            self._redirect("/login.do")

    def do_POST(self) -> None:
        """Take the login form."""
        length = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(length).decode("ascii", "replace"))
        token = secrets.token_hex(16).upper()
        SESSIONS[token] = form.get("user", ["?"])[0]
        self._redirect("/list.do", f"JSESSIONID={token}; Path=/; HttpOnly")

    def _user(self) -> str:
        cookie = SimpleCookie(self.headers.get("Cookie", ""))
        return SESSIONS.get(cookie["JSESSIONID"].value, "") if "JSESSIONID" in cookie else ""

    def _redirect(self, path: str, cookie: str = "") -> None:
        host, port = self.server.server_address[:2]
        self.send_response(302)
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Location", f"http://{host!s}:{port}{path}")
        self.end_headers()

    def _page(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=Shift_JIS")
        self.end_headers()
        html = f"<html><head><title>文書管理システム</title></head><body><h1>文書管理</h1>{body}</body></html>"
        self.wfile.write(html.encode("cp932", "replace"))

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Bunsho).serve_forever()
