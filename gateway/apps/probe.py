"""`apps test`: what an app would be told, and whether it answers people who come around the gateway.

The probes call the app directly, as someone on its network could: without identity, and with a forged one. An app that
answers both alike with a page does not look at who asks; then only the network keeps others out.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.apps.presets import PRESETS
from gateway.state.records import App, User

_WAIT = 5.0  # seconds a probe
_FORGED = "sekisho-probe"


@dataclass(frozen=True, slots=True)
class Finding:
    """One direct call and what it means. `status` is None where the app did not answer."""

    name: str
    path: str
    status: int | None
    fault: str
    advice: str


async def probe(app: App) -> tuple[Finding, ...]:
    """Call the app directly; never raises for what the app does."""
    connector: aiohttp.BaseConnector
    if app.upstream.startswith("unix:"):
        connector, base = aiohttp.UnixConnector(app.upstream.removeprefix("unix:")), "http://app.invalid"
    else:
        connector, base = aiohttp.TCPConnector(ssl=_trust(app)), app.upstream
    timeout = aiohttp.ClientTimeout(total=_WAIT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        reached = await _call(http, base, app, app.health_path or "/", {})
        plain = await _call(http, base, app, "/", {})
        forged = await _call(http, base, app, "/", forged_headers(app))
    return (_reached(app, *reached), _around("without_identity", *plain), _around("forged_identity", *forged))


def forged_headers(app: App) -> dict[str, str]:
    """An identity that the gateway never signed: plain headers, and an assertion that is no token."""
    headers = {name: _FORGED for preset in app.presets for name in PRESETS[preset].headers}
    return {**headers, app.assertion_header: _FORGED}


def sample_headers(app: App, user: User, issuer: str, now: float) -> list[dict[str, Any]]:
    """The identity headers for `user`, assertion as claims: no real token is made, so none can leak from here."""
    claims = {
        "iss": issuer,
        "aud": [app.id, *app.hosts],
        "sub": user.id,
        "email": user.email,
        "preferred_username": user.login,
        "name": user.name,
        "groups": list(user.groups),
        "iat": int(now),
        "exp": int(now) + 300,
    }
    rows: list[dict[str, Any]] = []
    if "jwt" in app.presets:
        rows.append({"name": app.assertion_header, "value": claims, "signed": True})
    if "remote-user" in app.presets:
        values = {"Remote-User": user.login, "Remote-Groups": ",".join(user.groups), "Remote-Email": user.email}
        rows += [
            {"name": name, "value": values[name], "signed": False}
            for name in PRESETS["remote-user"].headers
            if values[name] and values[name].isascii()
        ]
    return rows


async def _call(
    http: aiohttp.ClientSession, base: str, app: App, path: str, headers: Mapping[str, str]
) -> tuple[str, int | None, str]:
    host = {"Host": app.hosts[0]} if app.host_header == "preserve" else {}
    try:
        async with http.get(base + path, headers={**host, **headers}, allow_redirects=False) as answer:
            return path, answer.status, ""
    except TimeoutError:
        return path, None, f"no answer within {_WAIT:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return path, None, type(error).__name__


def _reached(app: App, path: str, status: int | None, fault: str) -> Finding:
    advice = ""
    if status is None:
        advice = f"アプリに接続できません ({fault})。upstream {app.upstream} を確認してください。"
    elif status >= 500 or (app.health_path and status >= 400):
        advice = f"アプリが {path} に {status} を返しました。"
    return Finding("reachable", path, status, fault, advice)


def _around(name: str, path: str, status: int | None, fault: str) -> Finding:
    advice = ""
    if status is not None and status < 300:
        shown = "識別情報なし" if name == "without_identity" else "偽の識別情報"
        advice = (
            f"{shown}の直接の要求に {status} を返しました。アプリ側で署名を検証するか、"
            "ゲートウェイ以外からの接続を遮断してください。"
        )
    return Finding(name, path, status, fault, advice)


def _trust(app: App) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=app.upstream_ca) if app.upstream_ca else True
