"""The twelve people of the sample city, in five departments. Names and accounts are invented."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.furnishing import Newcomer

DOMAIN = "city.example.jp"
CONTRACT_DAYS = 180
_SYLLABLES = (
    "ka",
    "ki",
    "ku",
    "ko",
    "sa",
    "shi",
    "so",
    "ta",
    "to",
    "na",
    "ni",
    "no",
    "ha",
    "hi",
    "ma",
    "mi",
    "yu",
    "ri",
)


@dataclass(frozen=True, slots=True)
class Staff:
    """One person as the city's own list has it."""

    login: str
    name: str
    department: str
    groups: tuple[str, ...]
    roles: tuple[str, ...] = ()  # ciso | audit | operator
    kind: str = "staff"  # staff | fixed_term | contractor


STAFF: tuple[Staff, ...] = (
    Staff("sato", "佐藤 花子", "市民課", ("shokuin", "shimin")),
    Staff("suzuki", "鈴木 一郎", "市民課", ("shokuin", "shimin", "kanri")),
    Staff("takahashi", "髙橋 美咲", "税務課", ("shokuin", "zeimu")),
    Staff("tanaka", "田中 健", "税務課", ("shokuin", "zeimu")),
    Staff("ito", "伊藤 直子", "会計課", ("shokuin", "kaikei")),
    Staff("watanabe", "渡邉 誠", "会計課", ("shokuin", "kaikei", "kanri")),
    Staff("yamamoto", "山本 由美", "情報政策課", ("shokuin", "johoseisaku", "csirt", "kanri"), ("ciso",)),
    Staff("nakamura", "中村 大輔", "情報政策課", ("shokuin", "johoseisaku", "csirt"), ("ciso", "operator")),
    Staff("kobayashi", "小林 葵", "情報政策課", ("shokuin", "johoseisaku"), ("audit",)),
    Staff("kato", "加藤 健一", "福祉課", ("shokuin",)),
    Staff("yoshida", "吉田 陽菜", "福祉課", ("kaikei-nendo",), kind="fixed_term"),
    Staff("yamada", "山田 修", "情報政策課(委託先)", ("itaku", "itaku-hoshu"), kind="contractor"),
)
PROPOSER = "nakamura"
APPROVER = "yamamoto"
"""Who registered the apps, and who else approved them."""


def newcomers(now: float) -> tuple[Newcomer, ...]:
    """Give everyone a password and an authenticator secret of their own, fresh for each city."""
    from gateway.furnishing import Newcomer

    return tuple(
        Newcomer(
            login=person.login,
            name=person.name,
            email=f"{person.login}@{DOMAIN}",
            department=person.department,
            groups=person.groups,
            kind=person.kind,
            roles=person.roles,
            contract_end=now + CONTRACT_DAYS * 86_400 if person.kind == "contractor" else None,
            password=_password(),
            totp_secret=base64.b32encode(secrets.token_bytes(20)).decode(),
        )
        for person in STAFF
    )


def _password() -> str:
    """Three words of three syllables that can be read aloud and typed: 37 bits, guarded by the growing wait."""
    words = ("".join(secrets.choice(_SYLLABLES) for _ in range(3)) for _ in range(3))
    return "-".join(words)
