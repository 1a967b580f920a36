"""The devices of a simulated municipality, and the verbs that change them.

The world knows no clock and no sockets: every verb takes `now` (seconds since the epoch) and answers with the device
as it stands afterwards. A device that is not stale checks in on its own: `last_sync` follows `now` with a lag that is
fixed for that device, so that the same seed and the same times give the same world.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace

CHECK_IN_LAG_MAX = 50 * 60
PATCH_DEADLINE = 60 * 86_400
NEVER = 0.0

COMPLIANCE_STATES = (
    "unknown",
    "compliant",
    "noncompliant",
    "conflict",
    "error",
    "inGracePeriod",
    "configManager",
)


class WorldError(Exception):
    """A verb that cannot be done: the message says what, and what there is instead."""


@dataclass(frozen=True, slots=True)
class SimDevice:
    """One device. Times are seconds since the epoch, `NEVER` (0.0) where nothing happened yet."""

    id: str
    directory_id: str
    name: str
    serial: str
    user: str
    os: str
    os_version: str
    owner_type: str
    enrolled_at: float
    patched_at: float
    encrypted: bool
    jailbroken: str
    lag: float
    frozen_sync: float | None
    override: str
    retired: bool

    def last_sync(self, now: float) -> float:
        """Return when the device last spoke to its MDM, as seen at `now`."""
        return now - self.lag if self.frozen_sync is None else self.frozen_sync

    def compliance(self, now: float) -> str:
        """Return the Graph `complianceState`: what was set by hand, else what follows from the facts."""
        if self.override:
            return self.override
        if self.jailbroken == "True" or not self.encrypted:
            return "noncompliant"
        if now - self.patched_at > PATCH_DEADLINE:
            return "noncompliant"
        return "compliant"

    def failing(self, now: float) -> tuple[str, ...]:
        """Return the names of the compliance settings that the device fails."""
        names = []
        if not self.encrypted:
            names.append("RequireEncryption")
        if self.jailbroken == "True":
            names.append("JailbreakDetection")
        if now - self.patched_at > PATCH_DEADLINE:
            names.append("OsMinimumBuild")
        return tuple(names)


class World:
    """All devices of one tenant, keyed by id; names are unique too and may be used instead."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # the same seed, the same city
        self._devices: dict[str, SimDevice] = {}

    def devices(self) -> tuple[SimDevice, ...]:
        """Return all enrolled devices in order of enrolment."""
        return tuple(device for device in self._devices.values() if not device.retired)

    def find(self, device: str) -> SimDevice:
        """Return the device with this id, directory id or name; raise `WorldError` naming those that exist."""
        for candidate in self.devices():
            if device in (candidate.id, candidate.directory_id, candidate.name):
                return candidate
        known = ", ".join(d.name for d in self.devices()) or "none"
        raise WorldError(f"no device {device!r}; devices: {known}")

    def enrol(
        self,
        name: str,
        user: str,
        now: float,
        *,
        os: str = "Windows",
        os_version: str = "10.0.26100.4061",
        owner_type: str = "company",
    ) -> SimDevice:
        """Add a device that is encrypted, patched and checks in; raise `WorldError` if the name is taken."""
        if any(device.name == name for device in self.devices()):
            raise WorldError(f"a device named {name!r} is enrolled already")
        device = SimDevice(
            id=self._uuid(),
            directory_id=self._uuid(),
            name=name,
            serial=f"SN{self._random.randrange(10**8):08d}",
            user=user,
            os=os,
            os_version=os_version,
            owner_type=owner_type,
            enrolled_at=now,
            patched_at=now - self._random.randrange(1, 20) * 86_400,
            encrypted=True,
            jailbroken="False",
            lag=float(self._random.randrange(60, CHECK_IN_LAG_MAX)),
            frozen_sync=None,
            override="",
            retired=False,
        )
        self._devices[device.id] = device
        return device

    def patch(self, device: str, now: float) -> SimDevice:
        """Install the newest patches."""
        return self._change(device, patched_at=now)

    def age_patches(self, device: str, now: float, days: float = 90) -> SimDevice:
        """Leave the device without patches for `days`."""
        return self._change(device, patched_at=now - days * 86_400)

    def decrypt(self, device: str, now: float) -> SimDevice:
        """Turn disk encryption off."""
        return self._change(device, encrypted=False)

    def encrypt(self, device: str, now: float) -> SimDevice:
        """Turn disk encryption on."""
        return self._change(device, encrypted=True)

    def jailbreak(self, device: str, now: float) -> SimDevice:
        """Break the operating system's protection."""
        return self._change(device, jailbroken="True")

    def go_stale(self, device: str, now: float, hours: float = 30) -> SimDevice:
        """Stop check-ins; the last one was `hours` ago."""
        return self._change(device, frozen_sync=now - hours * 3600)

    def check_in(self, device: str, now: float) -> SimDevice:
        """Let the device check in again, now and from now on."""
        return self._change(device, frozen_sync=None, lag=0.0)

    def judge(self, device: str, now: float, state: str = "") -> SimDevice:
        """Set `complianceState` by hand; an empty state goes back to what follows from the facts."""
        if state and state not in COMPLIANCE_STATES:
            raise WorldError(f"no compliance state {state!r}; states: {', '.join(COMPLIANCE_STATES)}")
        return self._change(device, override=state)

    def give_to(self, device: str, now: float, user: str = "") -> SimDevice:
        """Hand the device to another person (an empty user: shared)."""
        return self._change(device, user=user)

    def wipe(self, device: str, now: float) -> SimDevice:
        """Retire the device: it disappears from every list."""
        return self._change(device, retired=True)

    def heal(self, device: str, now: float) -> SimDevice:
        """Make everything about the device good again."""
        return self._change(
            device, patched_at=now, encrypted=True, jailbroken="False", frozen_sync=None, lag=0.0, override=""
        )

    def restore(self, devices: Iterable[SimDevice]) -> None:
        """Replace the whole world by `devices` (a saved state)."""
        self._devices = {device.id: device for device in devices}

    def _change(self, device: str, **changes: object) -> SimDevice:
        old = self.find(device)
        new = replace(old, **changes)  # type: ignore[arg-type]  # the verbs above name existing fields
        self._devices[old.id] = new
        return new

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


VERBS = (
    "patch",
    "age_patches",
    "decrypt",
    "encrypt",
    "jailbreak",
    "go_stale",
    "check_in",
    "judge",
    "give_to",
    "wipe",
    "heal",
)
"""The verbs that `sekisho mdm-sim do VERB DEVICE` offers (`enrol` takes more and has its own form)."""


def perform(world: World, verb: str, device: str, now: float, argument: str = "") -> SimDevice:
    """Do one of `VERBS`; `argument` is the verb's own (hours, days, a state, a person). Raise `WorldError`."""
    if verb not in VERBS:
        raise WorldError(f"no verb {verb!r}; verbs: {', '.join(VERBS)}")
    if verb in ("go_stale", "age_patches") and argument:
        try:
            amount = float(argument)
        except ValueError:
            raise WorldError(f"{verb}: got {argument!r}, expected a number") from None
        return world.go_stale(device, now, amount) if verb == "go_stale" else world.age_patches(device, now, amount)
    if verb == "judge":
        return world.judge(device, now, argument)
    if verb == "give_to":
        return world.give_to(device, now, argument)
    if argument:
        raise WorldError(f"{verb} takes no argument; got {argument!r}")
    simple = {
        "patch": world.patch,
        "decrypt": world.decrypt,
        "encrypt": world.encrypt,
        "jailbreak": world.jailbreak,
        "go_stale": world.go_stale,
        "age_patches": world.age_patches,
        "check_in": world.check_in,
        "wipe": world.wipe,
        "heal": world.heal,
    }
    return simple[verb](device, now)
