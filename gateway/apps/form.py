"""The shape of `app.yaml`: each key with its meaning, and what its value may be."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.apps.presets import DEFAULT_PRESETS, PRESETS

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}\Z")
_UNSAFE_HEADERS = frozenset(
    {
        "authorization", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host",
        "keep-alive", "proxy-authorization", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade",
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
    }
)  # fmt: skip


def host_name(value: str) -> str:
    """A DNS host name in lower case; raises ValueError for addresses, wildcards, ports and single labels."""
    name = value.strip().rstrip(".").lower()
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise ValueError("a DNS name such as app.city.example (no port, no wildcard)")
    if labels[-1].isdigit():
        raise ValueError("a DNS name, not an address")
    return name


def upstream_url(value: str) -> str:
    """The app's origin; raises ValueError where the URL says more than scheme, host and port."""
    if value.startswith("unix:/"):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("http://host:port, https://host:port or unix:/path")
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("only scheme, host and port (no user, path or query)")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("a port between 1 and 65535") from None
    if port == 0:
        raise ValueError("a port between 1 and 65535")
    _refuse_special_address(parts.hostname)
    return value.rstrip("/")


def _refuse_special_address(host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise ValueError("an address of one app (not link-local, multicast or unspecified)")


def _assertion_header(value: str) -> str:
    if not _HEADER.match(value) or value.lower() in _UNSAFE_HEADERS:
        raise ValueError("a header name of letters, digits and '-' that means nothing else in HTTP")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("an origin such as https://front.city.example")
    return value.lower()


def _path(value: str) -> str:
    if not value.startswith("/") or "//" in value or any(part in (".", "..") for part in value.split("/")):
        raise ValueError("a path that begins with '/' and has no empty or dot segment")
    if any(ord(char) <= 0x20 or char in "?#\\;" for char in value):
        raise ValueError("a path without spaces, '?', '#', '\\' or ';'")
    return value


def _optional_path(value: str) -> str:
    return _path(value) if value else value


def _preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError("one of " + ", ".join(PRESETS))
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _once(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("each value once")
    return values


def _one_scheme(values: list[str]) -> list[str]:
    if len({value.partition(":")[0] for value in values}) > 1:
        raise ValueError("one scheme for all: a part of the requests would be protected less than the rest")
    return values


Host = Annotated[str, AfterValidator(host_name)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
UrlPath = Annotated[str, AfterValidator(_path)]


class PreflightForm(BaseModel):
    """CORS preflights that the gateway answers itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    origins: list[Annotated[str, AfterValidator(_origin)]] = Field(default_factory=list, max_length=32)


class BodyForm(BaseModel):
    """How large a body sent to some path, and everything below it, may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: UrlPath
    bytes: Annotated[int, Field(ge=0, le=2**40)]


class AppForm(BaseModel):
    """One app as its owner writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="short name in rules and records")]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    owner: Annotated[str, Field(min_length=1, max_length=64, description="職員ID of the person answerable")]
    contact: Annotated[str, Field(max_length=200, description="shown on refusals")] = ""
    hosts: Annotated[list[Host], Field(min_length=1, max_length=16), AfterValidator(_once)]
    upstream: Annotated[str, Field(description="where the app lives"), AfterValidator(upstream_url)] = ""
    upstreams: Annotated[
        list[Annotated[str, AfterValidator(upstream_url)]],
        Field(min_length=1, max_length=16, description="where it lives, if on several servers: in place of upstream"),
        AfterValidator(_once), AfterValidator(_one_scheme),
    ] = Field(default_factory=list)  # fmt: skip
    affinity: Annotated[
        Literal["session", "none"],
        Field(
            description="session: one server for each app session, for its own sessions live there; none: any server"
        ),
    ] = "session"
    upstream_first_byte: Annotated[float, Field(ge=0, le=3600, description="s, 0 = the gateway's setting")] = 0.0
    upstream_between: Annotated[float, Field(ge=0, le=3600, description="s, 0 = the gateway's setting")] = 0.0
    upstream_ca: Annotated[str, Field(description="CA bundle for https, empty = the system's")] = ""
    sensitivity: Annotated[Literal["1", "2", "3C", "3B", "3A"], BeforeValidator(_number_as_text)]
    business: Annotated[str, Field(max_length=80, description="業務")] = ""
    profile: Literal["staff", "remote", "mynumber"] = "staff"
    presets: Annotated[list[Annotated[str, AfterValidator(_preset)]], AfterValidator(_once)] = Field(
        default_factory=lambda: list(DEFAULT_PRESETS)
    )
    assertion_header: Annotated[str, AfterValidator(_assertion_header)] = "X-Sekisho-Jwt-Assertion"
    methods: Annotated[list[Method], Field(min_length=1)] = Field(default_factory=lambda: list(get_args(Method)))
    host_header: Literal["preserve", "upstream"] = "preserve"
    durability: Literal["", "written", "synced"] = ""
    activity: Literal["navigation", "any"] = "navigation"
    preflight: PreflightForm = Field(default_factory=PreflightForm)
    health_path: Annotated[str, AfterValidator(_optional_path)] = ""
    masked_paths: list[UrlPath] = Field(default_factory=list, max_length=64)
    masked_queries: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=16), AfterValidator(_once)
    ] = Field(default_factory=list)
    path_parameter: Annotated[
        Literal["", "jsessionid"], Field(description="addresses of old Java apps end in ;jsessionid=…")
    ] = ""
    path_charset: Annotated[
        Literal["", "shift_jis"], Field(description="what the app's paths are encoded in, empty = UTF-8")
    ] = ""
    body_bytes: Annotated[int | None, Field(ge=0, le=2**40, description="largest body, empty = the settings'")] = None
    bodies: Annotated[list[BodyForm], Field(max_length=64, description="other sizes for some paths")] = Field(
        default_factory=list
    )

    @property
    def body_limits(self) -> tuple[str, ...]:
        """The limits as the app's record has them."""
        whole = () if self.body_bytes is None else (f"/ {self.body_bytes}",)
        return (*whole, *(f"{each.path} {each.bytes}" for each in self.bodies))
