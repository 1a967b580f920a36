"""住民記録 (sample): look a resident up, read the record, change the address. Plain forms; a plain header says who.

Run: python examples/juki.py PORT
"""

from __future__ import annotations

import sys
from html import escape

from aiohttp import web
from page import page, run

RESIDENTS = {
    "100001": {"氏名": "見本 花子", "生年月日": "昭和55年4月1日", "住所": "見本市中央1-2-3"},
    "100002": {"氏名": "見本 太郎", "生年月日": "平成2年11月23日", "住所": "見本市緑町4-5"},
    "100003": {"氏名": "髙橋 﨑子", "生年月日": "令和元年5月1日", "住所": "見本市川端6-7-8"},
}


async def home(request: web.Request) -> web.Response:
    """Show the search form and what it finds."""
    wanted = request.query.get("q", "")
    rows = "".join(
        f'<tr><td>{number}</td><td><a href="/residents/{number}">{escape(fields["氏名"])}</a></td></tr>'
        for number, fields in RESIDENTS.items()
        if wanted in fields["氏名"]
    )
    body = (
        f'<form action="/"><label>氏名<input name="q" value="{escape(wanted)}"></label>'
        "<p><button>照会</button></p></form>"
        f"<table><tr><th>宛名番号</th><th>氏名</th></tr>{rows}</table>"
    )
    return page("住民記録", body, request)


async def resident(request: web.Request) -> web.Response:
    """Show one record with its form."""
    number = request.match_info["number"]
    fields = RESIDENTS.get(number)
    if fields is None:
        raise web.HTTPNotFound(text="該当者なし")
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in fields.items())
    body = (
        f'<table>{rows}</table><form method="post" action="/residents/{number}/edit">'
        '<label>新しい住所<input name="address" required></label><p><button>異動を登録</button></p></form>'
    )
    return page(f"住民票 {number}", body, request)


async def edit(request: web.Request) -> web.Response:
    """Register a new address."""
    fields = RESIDENTS.get(request.match_info["number"])
    if fields is None:
        raise web.HTTPNotFound(text="該当者なし")
    form = await request.post()
    fields["住所"] = str(form.get("address", ""))
    raise web.HTTPSeeOther(f"/residents/{request.match_info['number']}")


def application() -> web.Application:
    """Return the app."""
    app = web.Application()
    app.router.add_get("/", home)
    app.router.add_get("/residents/{number}", resident)
    app.router.add_post("/residents/{number}/edit", edit)
    return app


if __name__ == "__main__":
    run(application(), int(sys.argv[1]))
