"""How an app is told who is asking: the identity presets that a registration may name.

`jwt` is the signed assertion (ES256, verified by the app with the JWKS). `remote-user` adds plain headers for apps
that know nothing else; they are worth exactly as much as the network between gateway and app, so it must be asked for
by name, and its values are ASCII only (WSGI decodes headers as latin-1, ux §6.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Preset:
    """One way of telling an app who asks."""

    name: str
    headers: tuple[str, ...]  # names that the gateway sets beside the assertion header
    proves_itself: bool  # True: the app can check the sender without trusting the network
    summary: str


_ALL = (
    Preset("jwt", (), True, "署名付きアサーション (ES256 JWT)。アプリ側で JWKS により検証できます"),
    Preset(
        "remote-user",
        ("Remote-User", "Remote-Groups", "Remote-Email"),
        False,
        "署名のない識別ヘッダー。ゲートウェイ以外からアプリへ到達できないことが前提です",
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
DEFAULT_PRESETS = ("jwt",)
