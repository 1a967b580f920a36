"""The strict reading of one request's header fields, and which of them an app may see.

The rules stand in design §4 and security A1–A5, V5–V7: names of letters, digits and hyphens only; framing that has
one meaning; every header by which this or another gateway tells an app who asks is dropped before ours are added.
Names are classified once and remembered, so the loop over a request's fields costs one dictionary look-up each.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

from gateway.gate.request import RequestFault, RequestHead
from policies.reasons import Reason

# RFC 9110 §9.3 and RFC 5789; the app's own allow-list is the gate's business.
METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"})
REFUSED_METHODS: Final = frozenset({b"TRACE", b"CONNECT"})

OWN_COOKIE: Final = b"__host-sekisho"

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer upgrade "
    b"transfer-encoding content-length http2-settings".split()
)
# Headers by which some gateway tells an app who asks, from where, or what was asked. Compared with "_" as "-".
_IDENTITY: Final = frozenset(
    b"forwarded client-cert client-cert-chain x-real-ip true-client-ip x-client-ip client-ip x-cluster-client-ip "
    b"x-originating-ip x-host x-rewrite-url x-http-method x-http-method-override x-method-override proxy x-user "
    b"x-username x-user-id x-email x-groups x-roles x-auth-user x-webauth-user x-authenticated-user "
    b"x-authenticated-userid x-authenticated-groups x-jwt-assertion x-id-token x-userinfo x-proxy-user "
    b"x-custom-ip-authorization real-ip x-true-ip proxy-host proxy-url x-proxy-url request-uri x-http-destinationurl "
    b"x-http-host-override".split()
)
_IDENTITY_FAMILIES: Final = tuple(
    b"x-forwarded remote- x-remote- x-auth-request- x-pomerium- cf- x-goog- x-authentik- x-sekisho- x-original- "
    b"x-amzn-oidc- x-ms-client-principal x-ms-token- x-vouch- x-oauth- x-ssl- ssl- x-client-cert x-consumer- "
    b"x-credential- tailscale-user- x-authelia- x-token-subject".split()
)
_ONCE: Final = frozenset(
    b"authorization content-type content-encoding origin referer user-agent range if-range if-modified-since "
    b"if-unmodified-since max-forwards date from access-control-request-method sec-websocket-key "
    b"sec-websocket-version sec-fetch-site sec-fetch-mode sec-fetch-dest".split()
)
_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_HOST: Final = re.compile(rb"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)\.?(?::([0-9]{1,5}))?")
_WEBSOCKET_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
COOKIES: Final = 100
"""So many cookies in one request are too many."""
_LONGEST_REMEMBERED: Final = 64  # bytes of a name: what a client sends once must not stay in memory for good

_NAMES, _HOSTS = 4096, 1024  # so many are remembered


class Kind(IntEnum):
    """What happens to a field."""

    PASS = 0
    DROP = 1
    ONCE = 2  # passed on, refused when it comes twice
    FRAMING = 3  # read by us, refused when it comes twice, never passed on as it came
    LIST = 4  # Connection and friends: read by us, never passed on


# Plain names for the loop: reaching a member through its class costs 0.1 µs on Python 3.11.
PASS, DROP, ONCE, FRAMING, LIST = Kind

_FRAMING: Final = frozenset(b"host content-length transfer-encoding cookie expect upgrade".split())
_remembered: dict[bytes, tuple[bytes, Kind]] = {}
_hosts: dict[bytes, tuple[str, int | None]] = {}


def fold(name: bytes) -> bytes:
    """Return the form in which header names are compared: lower case, `_` as `-` (apps fold them the same way)."""
    return name.lower().replace(b"_", b"-")


def names_identity(name: bytes) -> bool:
    """Whether an app might take the header `name` (any spelling) for a statement about who asks or what was asked."""
    folded = fold(name)
    return folded in _IDENTITY or folded.startswith(_IDENTITY_FAMILIES)


def classify(name: bytes) -> tuple[bytes, Kind]:
    """Return a field's name in lower case and what happens to it; raises RequestFault for a name that is none."""
    if _NAME.fullmatch(name) is None:
        raise RequestFault(400, Reason.HEADER_NOT_ALLOWED, "field name outside letters, digits and hyphen")
    lower = name.lower()
    if lower in _FRAMING:
        kind = FRAMING
    elif lower == b"connection":
        kind = LIST
    elif lower in _HOP_BY_HOP or names_identity(lower):
        kind = DROP
    else:
        kind = ONCE if lower in _ONCE else PASS
    if len(name) <= _LONGEST_REMEMBERED:
        if len(_remembered) >= _NAMES:  # else whoever invents so many would keep out those in use for good
            _remembered.clear()
        _remembered[name] = (lower, kind)
    return lower, kind


def check(head: RequestHead, fields: list[tuple[bytes, bytes]]) -> None:
    """Read the fields into `head` (whose method, version and peer are set); raises RequestFault.

    Afterwards `head.headers` holds what an app may get besides what the edge makes itself (Host, Cookie, framing,
    forwarding headers), and `head.find` every field that was not dropped, including Host and Cookie.
    """
    find: dict[bytes, bytes] = {}
    passed: list[tuple[bytes, bytes]] = []
    remembered = _remembered
    for name, raw in fields:
        lower, kind = remembered.get(name) or classify(name)
        if kind is DROP:
            continue
        value = raw.strip()
        if lower in find:
            if kind is ONCE or kind is FRAMING:
                raise RequestFault(400, Reason.MALFORMED_REQUEST, f"field sent twice: {lower.decode()}")
            find[lower] += b", " + value
        else:
            find[lower] = value
        if kind is PASS or kind is ONCE:
            passed.append((name, value))
    head.find = find
    head.headers = passed
    head.host, head.port = host_of(find)
    if head.peer.server_name and head.peer.server_name != head.host:
        raise RequestFault(421, Reason.MISDIRECTED, "Host differs from the name of the TLS connection")
    _read_framing(head, find)
    _read_connection(head, find)


def host_of(find: dict[bytes, bytes]) -> tuple[str, int | None]:
    """Return name and port of the Host field; raises RequestFault where there is none, or none that may be one."""
    value = find.get(b"host", b"")
    return _hosts.get(value) or _parse_host(value)


def _parse_host(value: bytes) -> tuple[str, int | None]:
    found = _HOST.fullmatch(value)
    if found is None:
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "Host missing or not a name with an optional port")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 0 < port < 65536:
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "port in Host out of range")
    parsed = (found[1].decode("ascii").lower(), port)
    if len(_hosts) >= _HOSTS:
        _hosts.clear()
    _hosts[value] = parsed
    return parsed


def _read_framing(head: RequestHead, find: dict[bytes, bytes]) -> None:
    length = find.get(b"content-length")
    coding = find.get(b"transfer-encoding")
    head.content_length = None
    head.chunked = False
    if coding is not None:
        # RFC 9112 §6.1: a message with both, or with a coding on 1.0, is how requests are smuggled.
        if length is not None or head.version != "1.1":
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "Transfer-Encoding with Content-Length or on HTTP/1.0")
        if coding != b"chunked":
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "Transfer-Encoding other than chunked")
        head.chunked = True
    elif length is not None:
        if _DIGITS.fullmatch(length) is None:
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "Content-Length is not a number")
        head.content_length = int(length)
    cookie = find.get(b"cookie")
    if cookie is not None and cookie.count(b";") >= COOKIES:
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "more than 100 cookies")
    expect = find.get(b"expect")
    head.expect_continue = False
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise RequestFault(417, Reason.MALFORMED_REQUEST, "expectation other than 100-continue")
        # RFC 9110 §10.1.1: an HTTP/1.0 client does not wait for 100.
        head.expect_continue = head.version == "1.1" and (head.chunked or bool(head.content_length))


def _read_connection(head: RequestHead, find: dict[bytes, bytes]) -> None:
    head.keep_alive = head.version == "1.1"
    head.upgrade = False
    connection = find.get(b"connection")
    if connection is None or connection == b"keep-alive":
        return
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    if b"close" in options:
        head.keep_alive = False
    if b"upgrade" in options and find.get(b"upgrade", b"").lower() == b"websocket":
        _read_websocket(head, find)
    named = options - {b"close", b"keep-alive", b"upgrade"}
    if head.upgrade:
        named = {name for name in named if not name.startswith(b"sec-websocket-")}
    if named:
        head.headers = [(name, value) for name, value in head.headers if name.lower() not in named]


def _read_websocket(head: RequestHead, find: dict[bytes, bytes]) -> None:
    """Check an upgrade by RFC 6455 §4.2.1; whose pages may ask for one the app says (`gate.cross_site`, §10.2)."""
    if head.method != "GET" or head.version != "1.1" or head.chunked or head.content_length:
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "WebSocket upgrade is not a bare GET of HTTP/1.1")
    if find.get(b"sec-websocket-version") != b"13":
        raise RequestFault(426, Reason.MALFORMED_REQUEST, "WebSocket version is not 13")
    if _WEBSOCKET_KEY.fullmatch(find.get(b"sec-websocket-key", b"")) is None:
        raise RequestFault(400, Reason.MALFORMED_REQUEST, "WebSocket key is not 16 bytes in base64")
    head.upgrade = True


def public_origin(head: RequestHead) -> bytes:
    """Return `scheme://host[:port]` as the browser sees it, from the listener and the Host header."""
    scheme = head.peer.scheme
    standard = 443 if scheme == "https" else 80
    port = "" if head.port is None or head.port == standard else f":{head.port}"
    return f"{scheme}://{head.host}{port}".encode("ascii")


def cookies_for_app(cookie: bytes) -> bytes:
    """Return a Cookie header's value without our own cookies; "" when nothing is left."""
    if OWN_COOKIE not in cookie.lower():
        return cookie
    kept = [part for part in cookie.split(b";") if not part.strip(b" \t").lower().startswith(OWN_COOKIE)]
    return b";".join(kept).strip(b" \t")


def app_cookie(cookie: bytes) -> bytes:
    """Return the Cookie line that an app gets, b"" when nothing but our own cookies came."""
    kept = cookies_for_app(cookie)
    return b"Cookie: %b\r\n" % kept if kept else b""


def app_lines(head: RequestHead) -> bytes:
    """Return the fields that an app gets of the client's own as lines: `head.headers`, then the Cookie less ours."""
    lines = b"".join([b"%b: %b\r\n" % field for field in head.headers])
    cookie = head.find.get(b"cookie")
    return lines + app_cookie(cookie) if cookie else lines
