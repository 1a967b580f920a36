"""生成AI (sample): a chat page whose answer comes word by word over server-sent events on a POST.

There is no model behind it; it repeats the question. Its page also asks the groupware's API across hosts.
Run: python examples/genai.py PORT GROUPWARE_ORIGIN
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import web
from page import page, run

SCRIPT = """
document.getElementById('ask').onsubmit=async e=>{e.preventDefault();const o=document.getElementById('answer');
o.textContent='';const r=await fetch('/v1/chat',{method:'POST',headers:{'Content-Type':'application/json'},
body:JSON.stringify({prompt:e.target.prompt.value})});const d=r.body.pipeThrough(new TextDecoderStream()).getReader();
for(;;){const {done,value}=await d.read();if(done)break;for(const m of value.matchAll(/^data: (.*)$/gm))
o.textContent+=JSON.parse(m[1]).text}};
fetch('GROUPWARE/api/members',{credentials:'include',headers:{'X-Requested-With':'genai'}}).then(r=>r.json())
.then(j=>{document.getElementById('members').textContent='グループウェア: '+j.you+'(在席 '+j.online+')'})
.catch(()=>{document.getElementById('members').textContent='グループウェアは未サインインです'});
"""


async def home(request: web.Request) -> web.Response:
    """Show the prompt."""
    script = SCRIPT.replace("GROUPWARE", request.app[GROUPWARE])
    body = (
        '<p id="members" class="note"></p><form id="ask"><label>質問<textarea name="prompt"></textarea></label>'
        f'<p><button>送る</button></p></form><p id="answer" role="status"></p><script>{script}</script>'
    )
    return page("生成AI", body, request)


async def chat(request: web.Request) -> web.StreamResponse:
    """Repeat the question word by word."""
    try:
        prompt = str((await request.json())["prompt"])
    except (ValueError, KeyError, TypeError):
        raise web.HTTPBadRequest(text="prompt がありません") from None
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    for part in ("ご質問は「", *prompt, "」ですね。(見本のため、答えはありません)"):
        await response.write(f"data: {json.dumps({'text': part}, ensure_ascii=False)}\n\n".encode())
        await asyncio.sleep(0.02)
    await response.write_eof()
    return response


GROUPWARE = web.AppKey("groupware", str)


def application(groupware: str) -> web.Application:
    """Return the app."""
    app = web.Application()
    app[GROUPWARE] = groupware
    app.router.add_get("/", home)
    app.router.add_post("/v1/chat", chat)
    return app


if __name__ == "__main__":
    run(application(sys.argv[2]), int(sys.argv[1]))
