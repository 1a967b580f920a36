"""Where a run's secrets come from: the makers and clients that tests use are watched, so that no test need tell.

Watched are random tokens that tests make, one-time codes and their seeds, set-up codes, what clients send as cookies,
Authorization and forms and what they get as cookies and one-time codes, the admin API's tokens, and the passwords of
first accounts.
"""

from __future__ import annotations

import functools
import json
import secrets
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pyotp

from cli.client import AdminClient
from gateway import installation
from gateway.identity import provisioning
from tests.support.canaries import Canaries

_TOKEN = 16  # characters that every real one has


_TOKEN = 16  # characters: what tests of refusals send for a token is shorter


def watch(canaries: Canaries) -> None:
    """Watch every source."""
    _tokens(canaries)
    _codes(canaries)
    _aiohttp(canaries)
    _httpx(canaries)
    _admin(canaries)


def _after(owner: Any, name: str, look: Callable[..., None]) -> None:
    """Have `look(result, *arguments)` called after each call of `owner.name`."""
    was = getattr(owner, name)

    @functools.wraps(was)
    def watched(*arguments: Any, **named: Any) -> Any:
        result = was(*arguments, **named)
        look(result, *arguments, **named)
        return result

    setattr(owner, name, watched)


def _tokens(canaries: Canaries) -> None:
    def look(result: str, *_: Any) -> None:
        caller = sys._getframe(2).f_code.co_filename  # of whoever asked for the token
        if "/tests/" in caller and len(result) >= 32:
            canaries.learn(result, "token")

    _after(secrets, "token_urlsafe", look)


def _codes(canaries: Canaries) -> None:
    def otp(result: str, maker: pyotp.OTP, *_: Any, **__: Any) -> None:
        canaries.learn(result, "one-time code")
        canaries.learn(maker.secret, "seed of one-time codes")

    def setup(result: provisioning.SetupCode, *_: Any, **__: Any) -> None:
        canaries.learn(result.code, "set-up code")

    def installed(result: installation.Installed, *_: Any, **__: Any) -> None:
        canaries.learn(result.setup_code, "set-up code")

    _after(pyotp.OTP, "generate_otp", otp)
    _after(provisioning, "new_setup_code", setup)
    was = installation.Installed.__init__

    def made(self: installation.Installed, *arguments: Any, **named: Any) -> None:
        was(self, *arguments, **named)
        installed(self)

    installation.Installed.__init__ = made  # type: ignore[method-assign]


def _sent(canaries: Canaries, headers: Any) -> None:
    for name, value in dict(headers or {}).items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if str(name).lower() in ("cookie", "set-cookie"):
            canaries.learn_cookies(text)
        elif str(name).lower() in ("authorization", "proxy-authorization"):
            token = text.partition(" ")[2] or text
            canaries.learn(token if len(token) >= _TOKEN else None, "Authorization")  # shorter ones are tests' words


def _got(canaries: Canaries, set_cookies: list[str], location: str) -> None:
    for line in set_cookies:
        canaries.learn_cookies(line)
    for name, values in parse_qs(urlsplit(location).query).items():
        if name in ("code", "state"):
            canaries.learn(values[0], f"one-time {name} of a redirect")


def _aiohttp(canaries: Canaries) -> None:
    was = aiohttp.ClientSession._request

    async def request(self: aiohttp.ClientSession, *arguments: Any, **named: Any) -> aiohttp.ClientResponse:
        for headers in (self.headers, named.get("headers")):
            _sent(canaries, headers)
        canaries.learn_fields(named.get("json") or named.get("data"), "body")
        answer = await was(self, *arguments, **named)
        _got(canaries, answer.headers.getall("Set-Cookie", []), answer.headers.get("Location", ""))
        return answer

    aiohttp.ClientSession._request = request  # type: ignore[method-assign]


def _httpx(canaries: Canaries) -> None:
    def look(answer: httpx.Response, _client: httpx.Client, request: httpx.Request, **_: Any) -> None:
        _sent(canaries, request.headers)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            canaries.learn_fields({name: value[0] for name, value in parse_qs(request.read().decode()).items()}, "form")
        _got(canaries, answer.headers.get_list("set-cookie"), answer.headers.get("location", ""))

    _after(httpx.Client, "send", look)


def _admin(canaries: Canaries) -> None:
    was = AdminClient.__init__

    def made(self: AdminClient, path: Any, token: str | None) -> None:
        was(self, path, token)
        canaries.learn(token, "operator's token")

    def look(answer: dict[str, Any], _client: AdminClient, _method: str, _path: str, body: Any) -> None:
        canaries.learn_fields(json.loads(json.dumps(body or {}, default=str)), "command")
        canaries.learn_fields(answer, "answer")

    AdminClient.__init__ = made  # type: ignore[method-assign]
    _after(AdminClient, "_answer", look)
