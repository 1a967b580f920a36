"""What of an app the gateway will not pass, each with its remedy, in words for the app's owner.

Pure: `walk` brings what the app said. What is held against an answer here are the same functions that hold it on the
request path, so that a trial and the gateway cannot disagree.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.edge.response import names_connection_scheme, public_cookie, public_location
from gateway.gate.headers import OWN_COOKIE
from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS, canonical_for, exceptions_of
from gateway.gate.request import PathExceptions, RequestFault, RequestHead
from gateway.state.records import App

_NONE: Final = PathExceptions(jsessionid=False, shift_jis=False)
_SECRET: Final = re.compile(r"(;jsessionid=)[^/?#;]*", re.IGNORECASE)
_SHOWN: Final = 120  # characters
_INNER: Final = (".local", ".internal", ".lan", ".localdomain", ".intra", ".home.arpa")
_SET_HEADER: Final = re.compile(r"setRequestHeader\(\s*[\"']([A-Za-z0-9_-]*_[A-Za-z0-9_-]*)[\"']")
_UNDERSCORED: Final = re.compile(r"[A-Za-z0-9-]*_[A-Za-z0-9_-]*")

# What each finding means and what to do, Japanese and English. `{got}` is what was seen.
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "jsessionid": (
        (
            "URL に ;jsessionid があります → path_parameter: jsessionid を登録に足す (承認が要ります)。"
            "アプリの設定でセッションをクッキーだけにできるなら、その方が安全です"
        ),
        (
            "URLs carry ;jsessionid → add path_parameter: jsessionid to the registration (needs approval); "
            "better, have the app track sessions by cookie only"
        ),
    ),
    "shift_jis": (
        "URL のパスが Shift_JIS です → path_charset: shift_jis を登録に足す (承認が要ります)",
        "paths are Shift_JIS → add path_charset: shift_jis to the registration (needs approval)",
    ),
    "both": (
        (
            "URL に ;jsessionid と Shift_JIS のパスがあります → "
            "path_parameter: jsessionid と path_charset: shift_jis を登録に足す (承認が要ります)"
        ),
        (
            "URLs carry ;jsessionid and Shift_JIS paths → "
            "add path_parameter: jsessionid and path_charset: shift_jis to the registration (needs approval)"
        ),
    ),
    "url": (
        "この URL はゲートウェイが 400 で拒否します ({got}) → アプリ側で URL を直す",
        "the gateway refuses this URL with 400 ({got}) → mend the URL in the app",
    ),
    "request": (
        "このアプリへの要求をゲートウェイが拒否します ({got}) → クッキーなど、アプリがブラウザに送らせるものを直す",
        "the gateway refuses the request that the app makes browsers send ({got}) → mend its cookies",
    ),
    "answer": (
        "応答が HTTP の規則に合わず、502 になります ({got}) → アプリまたはその手前のサーバーの応答を直す",
        "the answer does not follow HTTP and becomes a 502 ({got}) → mend what the app, or the server before it, says",
    ),
    "redirect_http": (
        "http:// への転送があり、暗号化されない通信に移ります ({got}) → 転送先を https:// か相対パスにする",
        "a redirect leads to plain http:// ({got}) → redirect to https:// or to a relative path",
    ),
    "redirect_inner": (
        (
            "庁内の名前への転送があり、ブラウザから届きません ({got}) → アプリに公開ホスト名を設定する "
            "(host_header: preserve と X-Forwarded-Host が使えます)"
        ),
        (
            "a redirect names an internal host that browsers cannot reach ({got}) → "
            "configure the public host name in the app (host_header: preserve and X-Forwarded-Host are there for it)"
        ),
    ),
    "link_inner": (
        "ページのリンクが庁内の名前です ({got}) → 本文は書き換えないので、アプリで相対リンクか公開ホスト名にする",
        (
            "a page links to an internal host ({got}) → "
            "bodies are not rewritten: use relative links or the public host name in the app"
        ),
    ),
    "cookie_domain": (
        "クッキーに親ドメインの Domain があり、届けません ({got}) → Domain 属性を外す",
        "a cookie has a parent domain and is dropped ({got}) → leave out its Domain attribute",
    ),
    "cookie_name": (
        "クッキーの名前がゲートウェイのものと重なり、届けません ({got}) → アプリのクッキーの名前を変える",
        "a cookie has one of the gateway's names and is dropped ({got}) → rename it in the app",
    ),
    "header_name": (
        "名前に _ を含むヘッダーを使っています。その要求は 400 になります ({got}) → _ を - に変える",
        "a header's name has a _; requests with it are refused with 400 ({got}) → write - for _",
    ),
    "connection_auth": (
        (
            "NTLM または Negotiate で接続ごとに認証します。利用者の接続ごとにアプリへの接続を 1 本使います → "
            "動きますが、署名付きアサーション (presets: jwt) への切り替えを勧めます"
        ),
        (
            "NTLM or Negotiate authenticates connections: each client connection takes one of its own to the app → it "
            "works; the signed assertion (presets: jwt) is the better way"
        ),
    ),
    "unreachable": (
        "アプリに接続できません ({got}) → upstream を確認する",
        "the app cannot be reached ({got}) → check upstream",
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that will not pass: `page` is where it was seen, `got` what was seen, without secrets."""

    name: str
    page: str
    got: str
    advice: str
    advice_en: str


def fault(name: str, page: str, got: str) -> Fault:
    """Return a finding in words."""
    shown = shown_safely(got)
    advice, advice_en = (words.replace("{got}", shown) for words in _WORDS[name])
    return Fault(name, shown_safely(page), shown, advice, advice_en)


def shown_safely(text: str) -> str:
    """Return an address as a person may see it: without a session, and not long."""
    text = _SECRET.sub(r"\1…", text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def of_target(target: bytes, page: str, app: App) -> Fault | None:
    """Hold an address of the app against the registration; where an exception would mend it, name that."""
    named = exceptions_of(app) or _NONE
    got = target.decode("latin-1")
    try:
        canonical_for(target, named)
    except RequestFault as found:
        detail = found.detail
    else:
        return None
    for name, tried in (
        (JSESSIONID, named._replace(jsessionid=True)),
        (SHIFT_JIS, named._replace(shift_jis=True)),
        ("both", PathExceptions(jsessionid=True, shift_jis=True)),
    ):
        try:
            canonical_for(target, tried)
        except RequestFault:
            continue
        return fault(name, page, got)
    return fault("url", page, f"{shown_safely(got)}: {detail}")


def of_cookie(value: bytes, host: str, page: str) -> Fault | None:
    """Hold a Set-Cookie against what the gateway passes; its value is never shown."""
    if public_cookie(value, host):
        return None
    name, *attributes = value.decode("latin-1").split(";")
    shown = name.partition("=")[0].strip()
    if name.lstrip(" \t=").lower().startswith(OWN_COOKIE.decode()):
        return fault("cookie_name", page, OWN_COOKIE.decode() + "…")
    domain = next((each.strip() for each in attributes if each.strip().lower().startswith("domain")), "")
    return fault("cookie_domain", page, f"{shown}; {domain}")


def of_location(value: bytes, request: RequestHead, origins: frozenset[bytes], page: str) -> Fault | None:
    """Hold a redirect, as a browser would get it, against where browsers may go."""
    public = public_location(value, request, origins).decode("latin-1")
    parts = urlsplit(public)
    if not parts.netloc or parts.hostname == request.host:
        return None
    if is_inner(parts.hostname or ""):
        return fault("redirect_inner", page, public)
    return fault("redirect_http", page, public) if parts.scheme == "http" else None


def of_link(url: str, app: App, page: str) -> Fault | None:
    """Hold an absolute link of a page against where browsers may go."""
    host = (urlsplit(url).hostname or "").lower()
    if host in app.hosts:
        return None
    own = {urlsplit(each).hostname for each in app.addresses if each.startswith("http")}
    return fault("link_inner", page, url) if host in own or is_inner(host) else None


def of_fields(fields: dict[bytes, bytes], page: str) -> Iterator[Fault]:
    """Hold the rest of an answer's head against what the gateway passes; names in lower case."""
    if names_connection_scheme(fields.get(b"www-authenticate", b"")):
        yield fault("connection_auth", page, "")
    asked = fields.get(b"access-control-allow-headers", b"").decode("latin-1")
    if found := _UNDERSCORED.search(asked):
        yield fault("header_name", page, found[0])


def of_script(text: str, page: str) -> Iterator[Fault]:
    """Find header names with `_` that a script sets."""
    if found := _SET_HEADER.search(text):
        yield fault("header_name", page, found[1])


def is_inner(host: str) -> bool:
    """Whether a host name is one that browsers outside cannot mean: no dot, a name of inner networks, or an address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_INNER))
    return address.is_private or address.is_loopback
