"""`apps test`: what an app would be told, and whether it answers people who come around the gateway.

The probes call the app directly, as someone on its network could: without identity, and with a forged one. An app that
answers both alike with a page does not look at who asks; then only the network keeps others out.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from gateway.apps.presets import PRESETS
from gateway.gate.assertion import signed_claims
from gateway.gate.standing import JWT, REMOTE_USER, claims_of, remote_user_headers
from gateway.state.records import App, AppSession, Device, Session, User

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
    """Call each server of the app directly; never raises for what the app does."""
    found: list[Finding] = []
    for address in app.addresses:
        findings = await _probe(app, address)
        # The path says which one it was where there are several.
        found += [replace(each, path=address + each.path) for each in findings] if app.upstreams else findings
    return tuple(found)


async def _probe(app: App, address: str) -> tuple[Finding, ...]:
    connector: aiohttp.BaseConnector
    if address.startswith("unix:"):
        connector, base = aiohttp.UnixConnector(address.removeprefix("unix:")), "http://app.invalid"
    else:
        connector, base = aiohttp.TCPConnector(ssl=_trust(app)), address
    timeout = aiohttp.ClientTimeout(total=_WAIT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        reached = await _call(http, base, app, app.health_path or "/", {})
        plain = await _call(http, base, app, "/", {})
        forged = await _call(http, base, app, "/", forged_headers(app))
    return (_reached(app, address, *reached), _around("without_identity", *plain), _around("forged_identity", *forged))


def forged_headers(app: App) -> dict[str, str]:
    """An identity that the gateway never signed: plain headers, and an assertion that is no token."""
    headers = {name: _FORGED for preset in app.presets for name in PRESETS[preset].headers}
    return {**headers, app.assertion_header: _FORGED}


def sample_headers(app: App, user: User, device: Device | None, issuer: str, now: float) -> list[dict[str, Any]]:
    """The identity headers that the gate would set for `user` on `device`, from the gate's own builders.

    The assertion is shown as its claims: no token is signed, so none can leak from here.
    """
    session = _imagined_session(user, device, now)
    child = AppSession("sample", session.id, app.id, app.hosts[0], "", now)
    rows: list[dict[str, Any]] = []
    if JWT in app.presets:
        claims = signed_claims(claims_of(child, session, user, device, app), issuer, "sample", int(now))
        rows.append({"name": app.assertion_header, "value": claims, "signed": True})
    if REMOTE_USER in app.presets:
        rows += [
            {"name": name.decode(), "value": value.decode(), "signed": False}
            for name, value in remote_user_headers(user)
        ]
    return rows


def _imagined_session(user: User, device: Device | None, now: float) -> Session:
    """A sign-in with password and code that never happened."""
    return Session(
        id="sample", user_id=user.id, token_hash="", amr=("pwd", "otp", "mfa"), acr="urn:sekisho:aal2",
        mfa_method="totp", mfa_at=now, created_at=now, expires_at=now + 1.0, idle_limit=1.0, last_used_at=now,
        device_id=device.id if device is not None else None, source_ip="", user_agent="", operator=False,
        ended_at=None, end_reason="",
    )  # fmt: skip


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


def _reached(app: App, address: str, path: str, status: int | None, fault: str) -> Finding:
    advice = ""
    if status is None:
        advice = f"アプリに接続できません ({fault})。upstream {address} を確認してください。"
    elif status >= 500 or (app.health_path and status >= 400):
        advice = f"アプリが {path} に {status} を返しました。"
    return Finding("reachable", path, status, fault, advice)


def _around(name: str, path: str, status: int | None, fault: str) -> Finding:
    advice = ""
    if status is None:
        advice = f"アプリに接続できないため、確かめていません ({fault})。"
    elif status >= 500:
        advice = f"アプリが {status} を返したため、確かめられません。"
    elif status < 300:
        shown = "識別情報なし" if name == "without_identity" else "偽の識別情報"
        advice = (
            f"{shown}の直接の要求に {status} を返しました。アプリ側で署名を検証するか、"
            "ゲートウェイ以外からの接続を遮断してください。"
        )
    return Finding(name, path, status, fault, advice)


def _trust(app: App) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=app.upstream_ca) if app.upstream_ca else True
