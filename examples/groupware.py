"""グループウェア (sample): a chat over WebSocket, notices by server-sent events, a JSON API for another app's pages.

It reads who is there from the gateway's signed assertion, and checks the signature with PyJWT as any app would.
Run: python examples/groupware.py PORT JWKS_FILE AUDIENCE ALLOWED_ORIGIN
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from html import escape
from pathlib import Path

import jwt
from aiohttp import WSMsgType, web
from page import page, run

JAPAN = timezone(timedelta(hours=9))
HEADER = "X-Sekisho-Jwt-Assertion"
SCRIPT = """
const s=new WebSocket(`wss://${location.host}/chat`),l=document.getElementById('log');
s.onmessage=e=>{const p=document.createElement('p');p.textContent=e.data;l.append(p)};
s.onclose=()=>{const p=document.createElement('p');p.textContent='— 接続が終わりました —';l.append(p)};
document.getElementById('say').onsubmit=e=>{e.preventDefault();s.send(e.target.text.value);e.target.reset()};
new EventSource('/notices').onmessage=e=>{document.getElementById('notice').textContent=e.data};
"""


@dataclass
class Office:
    """What the app knows: the gateway's keys, its own name, who is connected."""

    jwks_file: Path
    audience: str
    origin: str
    sockets: set[web.WebSocketResponse] = field(default_factory=set)

    def person(self, request: web.Request) -> str:
        """Return the name in the assertion; refuse the request where its signature does not hold."""
        token = request.headers.get(HEADER, "")
        try:
            keys = jwt.PyJWKSet.from_json(self.jwks_file.read_text("utf-8"))
            key = keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=self.audience)
        except (jwt.PyJWTError, KeyError, OSError) as error:
            raise web.HTTPUnauthorized(text="署名のある身元が届いていません") from error
        return str(claims.get("name", claims["sub"]))


OFFICE = web.AppKey("office", Office)


async def home(request: web.Request) -> web.Response:
    """Show the chat."""
    name = request.app[OFFICE].person(request)
    body = (
        f'<p>ようこそ、{escape(name)}さん。</p><p id="notice"></p><div id="log"></div>'
        '<form id="say"><input name="text" aria-label="発言"><p><button>送る</button></p></form>'
        f"<script>{SCRIPT}</script>"
    )
    return page("グループウェア", body, request, name)


async def chat(request: web.Request) -> web.WebSocketResponse:
    """Pass each message to everyone who is connected."""
    office = request.app[OFFICE]
    name = office.person(request)
    socket = web.WebSocketResponse(heartbeat=30)
    await socket.prepare(request)
    office.sockets.add(socket)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                text = f"{name}: {message.data}"
                await asyncio.gather(*(other.send_str(text) for other in office.sockets), return_exceptions=True)
    finally:
        office.sockets.discard(socket)
    return socket


async def notices(request: web.Request) -> web.StreamResponse:
    """Send the time each second as an event."""
    request.app[OFFICE].person(request)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    while True:
        await response.write(f"data: {datetime.now(JAPAN):%H:%M:%S} 現在、お知らせはありません\n\n".encode())
        await asyncio.sleep(1)


async def members(request: web.Request) -> web.Response:
    """Answer the JSON API, also to pages of the one other origin that may ask."""
    office = request.app[OFFICE]
    answer = web.Response(
        text=json.dumps({"you": office.person(request), "online": len(office.sockets)}, ensure_ascii=False),
        content_type="application/json",
    )
    answer.headers["Access-Control-Allow-Origin"] = office.origin
    answer.headers["Access-Control-Allow-Credentials"] = "true"
    return answer


def application(office: Office) -> web.Application:
    """Return the app."""
    app = web.Application()
    app[OFFICE] = office
    app.router.add_get("/", home)
    app.router.add_get("/chat", chat)
    app.router.add_get("/notices", notices)
    app.router.add_route("*", "/api/members", members)
    return app


if __name__ == "__main__":
    run(application(Office(Path(sys.argv[2]), sys.argv[3], sys.argv[4])), int(sys.argv[1]))
