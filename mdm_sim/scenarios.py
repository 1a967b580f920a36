"""Ready worlds: the sample city's fifteen devices. All of it is invented."""

from __future__ import annotations

from mdm_sim.world import World

DOMAIN = "city.example.jp"

CITY_DEVICES: tuple[tuple[str, str, str], ...] = (
    ("SHIMIN-PC-01", "sato", "Windows"),
    ("SHIMIN-PC-02", "suzuki", "Windows"),
    ("SHIMIN-COUNTER", "", "Windows"),
    ("ZEIMU-PC-01", "takahashi", "Windows"),
    ("ZEIMU-PC-02", "tanaka", "Windows"),
    ("KAIKEI-PC-01", "ito", "Windows"),
    ("KAIKEI-PC-02", "watanabe", "Windows"),
    ("JOHO-PC-01", "yamamoto", "Windows"),
    ("JOHO-PC-02", "nakamura", "Windows"),
    ("JOHO-PC-03", "kobayashi", "Windows"),
    ("FUKUSHI-PC-01", "kato", "Windows"),
    ("FUKUSHI-TAB-01", "yoshida", "Android"),
    ("TELEWORK-01", "sato", "Windows"),
    ("TELEWORK-02", "ito", "macOS"),
    ("ITAKU-PC-01", "yamada", "Windows"),
)
"""Name, login of its user ("" = shared), operating system."""

VERSIONS = {"Windows": "10.0.26100.4061", "macOS": "26.1", "Android": "16"}


def city(now: float, seed: int = 20261122, domain: str = DOMAIN) -> World:
    """Return the sample city's world: everything healthy, enrolled 200 days before `now`."""
    world = World(seed)
    for name, user, os in CITY_DEVICES:
        principal = f"{user}@{domain}" if user else ""
        world.enrol(name, principal, now - 200 * 86_400, os=os, os_version=VERSIONS[os])
        world.patch(name, now - 5 * 86_400)
    return world


def empty(seed: int = 1) -> World:
    """Return a tenant without devices."""
    return World(seed)
