"""The look that the sample city's apps share. They are apps of others: nothing here knows the gateway."""

from __future__ import annotations

from html import escape

from aiohttp import web

STYLE = """
body{font-family:"Noto Sans JP","Hiragino Sans",sans-serif;line-height:1.7;max-width:46rem;margin:2rem auto;
padding:0 1rem;color:#1a1a1c}
header{border-bottom:3px solid #0017c1;margin-bottom:1.5rem}h1{font-size:1.5rem;margin:.2rem 0}
table{border-collapse:collapse;width:100%}td,th{border:1px solid #ccc;padding:.4rem .6rem;text-align:left}
input,textarea,select{font:inherit;padding:.4rem;width:100%;box-sizing:border-box}
button{font:inherit;padding:.5rem 1.2rem;background:#0017c1;color:#fff;border:0;border-radius:8px}
.note{color:#626264;font-size:.9rem}
"""


def who(request: web.Request) -> str:
    """Return the person that the gateway named in `Remote-User`."""
    return request.headers.get("Remote-User", "(名乗りなし)")


def page(title: str, body: str, request: web.Request, person: str = "") -> web.Response:
    """Return one HTML page; `body` is trusted HTML, `title` is not. `person`: who asks, where the app knows it."""
    text = (
        f'<!doctype html><html lang="ja"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style>'
        f'<header><h1>{escape(title)}</h1><p class="note">見本の市 · 利用者: {escape(person or who(request))} · '
        f"架空のデータ</p></header>{body}</html>"
    )
    return web.Response(text=text, content_type="text/html")


async def health(_request: web.Request) -> web.Response:
    """Answer the health path."""
    return web.json_response({"status": "ok"})


def run(app: web.Application, port: int) -> None:
    """Serve `app` on loopback until stopped."""
    app.router.add_get("/health", health)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=1.0)
