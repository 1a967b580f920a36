"""The attribute catalogue: every fact that a rule may look at, its type, and what its absence means.

A name that is not here cannot be used in a policy. An absent fact, a fact of the wrong type and a stale fact are the
same thing: *missing*. Missing denies (`Attribute.on_missing` is None) unless the catalogue, never a rule, declares a
default. Names are part of the audit record (`sekisho.facts`), so a name is never reused with another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """The type of an attribute: decides the operators and the form of values in a policy file."""

    BOOL = "bool"  # true | false
    TEXT = "text"  # one free string
    CHOICE = "choice"  # one string of a closed list
    ORDERED = "ordered"  # one string of a closed list with an order
    SET = "set"  # a frozenset of strings
    DURATION = "duration"  # seconds, written "15m", "12h", "30d"
    CLOCK = "clock"  # minutes since midnight, written "08:00"
    PATH = "path"  # decoded, canonical, begins with "/"
    VERSION = "version"  # dotted numbers, compared part by part
    INSTANT = "instant"  # seconds since the epoch


OPERATORS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.BOOL: ("is",),
        Kind.TEXT: ("any_of", "none_of"),
        Kind.CHOICE: ("any_of", "none_of"),
        Kind.ORDERED: ("any_of", "none_of", "min", "max"),
        Kind.SET: ("any_of", "none_of", "all_of"),
        Kind.DURATION: ("min", "max"),
        Kind.CLOCK: ("between",),
        Kind.PATH: ("under", "equals", "template"),
        Kind.VERSION: ("min", "max"),
        Kind.INSTANT: (),
    }
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One fact. `cost` ranks how dear it is for a person to change it; the nearest rule has the smallest sum."""

    name: str
    kind: Kind
    title: str  # Japanese, for the CISO's reading
    choices: tuple[str, ...] = ()  # closed vocabulary of CHOICE and ORDERED, smallest first
    on_missing: str | None = None  # None = missing denies; otherwise the value that stands in
    remediation: str = ""  # what the person can be told to do, "" = nothing
    user_can_fix: bool = False
    cost: int = 100
    posture: bool = False  # told by the MDM: missing when the posture is stale
    nameable: bool = True  # False = used by the engine, not by rules


SENSITIVITY: Final = ("1", "2", "3C", "3B", "3A")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MFA_METHODS: Final = ("totp", "webauthn")
AMR_OF_METHOD: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "totp": frozenset({"pwd", "otp", "mfa"}),
        "webauthn": frozenset({"hwk", "user", "mfa"}),
    }
)
"""RFC 8176 names that a step-up with each method brings; used only to foresee whether a step-up would help."""


def _step_up(name: str, kind: Kind, title: str, choices: tuple[str, ...] = ()) -> Attribute:
    return Attribute(name, kind, title, choices, remediation="step_up_mfa", user_can_fix=True, cost=1)


def _posture(name: str, kind: Kind, title: str, remediation: str, fixable: bool, cost: int) -> Attribute:
    return Attribute(name, kind, title, remediation=remediation, user_can_fix=fixable, cost=cost, posture=True)


_ATTRIBUTES: Final = (
    Attribute("user.id", Kind.TEXT, "利用者の番号", remediation="ask_owner"),
    Attribute("user.login", Kind.TEXT, "職員ID", remediation="ask_owner"),
    Attribute("user.groups", Kind.SET, "所属グループ", remediation="ask_owner"),
    Attribute("user.kind", Kind.CHOICE, "職員の種別", ("staff", "fixed_term", "contractor"), remediation="ask_owner"),
    Attribute("user.department", Kind.TEXT, "部署", on_missing="", remediation="ask_owner"),
    Attribute("user.contract_valid", Kind.BOOL, "契約期間内", remediation="ask_owner"),
    _step_up("mfa.method", Kind.CHOICE, "多要素認証の方法", MFA_METHODS),
    _step_up("mfa.age", Kind.DURATION, "多要素認証からの時間"),
    _step_up("mfa.amr", Kind.SET, "認証の手段"),
    Attribute(
        "auth.age", Kind.DURATION, "サインインからの時間", remediation="sign_in_again", user_can_fix=True, cost=2
    ),
    Attribute("device.known", Kind.BOOL, "登録された端末", remediation="use_known_device", user_can_fix=True, cost=5),
    _posture("device.managed", Kind.BOOL, "管理された端末", "use_managed_device", True, 5),
    _posture("device.compliant", Kind.BOOL, "端末の準拠", "fix_device", True, 4),
    _posture("device.in_grace", Kind.BOOL, "準拠の猶予中", "fix_device", True, 4),
    _posture("device.encrypted", Kind.BOOL, "ディスク暗号化", "encrypt_device", True, 4),
    _posture("device.jailbroken", Kind.BOOL, "改造された端末", "contact_help", False, 50),
    _posture("device.owner_match", Kind.BOOL, "本人の端末", "use_own_device", True, 5),
    _posture("device.os", Kind.TEXT, "OSの種類", "use_managed_device", True, 6),
    _posture("device.os_version", Kind.VERSION, "OSの版", "update_os", True, 4),
    _posture("device.patch_age", Kind.DURATION, "更新プログラムの適用からの時間", "update_os", True, 4),
    Attribute(
        "posture.read_age", Kind.DURATION, "端末管理の読み取りからの時間", remediation="wait_for_posture", cost=10
    ),
    Attribute(
        "posture.seen_age",
        Kind.DURATION,
        "端末と端末管理の最後の通信からの時間",
        remediation="refresh_posture",
        user_can_fix=True,
        cost=3,
    ),
    Attribute("net.zone", Kind.TEXT, "接続元", remediation="move_zone", user_can_fix=True, cost=20),
    Attribute("app", Kind.TEXT, "アプリ"),
    Attribute("app.sensitivity", Kind.ORDERED, "機密性", SENSITIVITY),
    Attribute("app.business", Kind.TEXT, "業務", on_missing=""),
    Attribute("http.method", Kind.CHOICE, "メソッド", METHODS),
    Attribute("http.path", Kind.PATH, "パス"),
    Attribute("time.of_day", Kind.CLOCK, "時刻", remediation="wait_for_hours", cost=30),
    Attribute("time.weekday", Kind.CHOICE, "曜日", WEEKDAYS, remediation="wait_for_hours", cost=30),
    Attribute("time.now", Kind.INSTANT, "現在の時刻", nameable=False),
)

CATALOGUE: Final[Mapping[str, Attribute]] = MappingProxyType({item.name: item for item in _ATTRIBUTES})
NAMEABLE: Final = tuple(item.name for item in _ATTRIBUTES if item.nameable)
POSTURE: Final = frozenset(item.name for item in _ATTRIBUTES if item.posture)
DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {item.name: item.on_missing for item in _ATTRIBUTES if item.on_missing is not None}
)
"""Attributes whose absence does not deny: listed by every lint."""

INTERNET: Final = "internet"
"""The zone of every address that no named network holds."""
