"""財務会計 (sample): vouchers to read, and a payment order that policy asks a fresher factor for.

Run: python examples/zaimu.py PORT
"""

from __future__ import annotations

import sys
from html import escape

from aiohttp import web
from page import page, run, who

PAYMENTS: list[tuple[str, str, str]] = [("光熱水費", "128,000", "ito")]


async def home(request: web.Request) -> web.Response:
    """List what has been ordered."""
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(amount)}円</td><td>{escape(by)}</td></tr>"
        for what, amount, by in PAYMENTS
    )
    body = (
        f"<table><tr><th>摘要</th><th>金額</th><th>起票</th></tr>{rows}</table>"
        '<p><a href="/shiharai">支払命令を起こす</a></p>'
    )
    return page("財務会計", body, request)


async def form(request: web.Request) -> web.Response:
    """Show the payment form."""
    body = (
        '<form method="post" action="/shiharai"><label>摘要<input name="what" required></label>'
        '<label>金額(円)<input name="amount" inputmode="numeric" required></label>'
        "<p><button>支払命令</button></p></form>"
    )
    return page("支払命令", body, request)


async def pay(request: web.Request) -> web.Response:
    """Take one payment order."""
    fields = await request.post()
    PAYMENTS.append((str(fields.get("what", "")), str(fields.get("amount", "")), who(request)))
    raise web.HTTPSeeOther("/")


def application() -> web.Application:
    """Return the app."""
    app = web.Application()
    app.router.add_get("/", home)
    app.router.add_get("/shiharai", form)
    app.router.add_post("/shiharai", pay)
    return app


if __name__ == "__main__":
    run(application(), int(sys.argv[1]))
