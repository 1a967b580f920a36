"""What the steps of the tour work on, and what a step may say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp

from cli.city.document import City, Person
from cli.city.processes import Running
from cli.city.sign_in import STEP

if TYPE_CHECKING:
    from cli.tour.chromium import Chromium
    from cli.tour.elasticsearch import Node

_COMMAND_WITHIN = 90.0  # seconds
_DISTURBING = ("SEKISHO_CONFIG", "SEKISHO_ADMIN_SOCKET")


class NotShown(Exception):
    """The step ran and what it was to show did not hold."""


class CannotShow(Exception):
    """A part that the step needs is absent; the text names it and how to get it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a step proved, in one line, and its figure."""

    proved: str
    figure: str


@dataclass(slots=True)
class Stage:
    """The city on which the tour is given."""

    city: City
    processes: Running
    folder: Path  # for the tour's own files
    chromium: Chromium | None = None
    node: Node | None = None  # Elasticsearch
    no_node: str = ""  # why there is none
    references: list[str] = field(default_factory=list)  # 受付番号 of what was refused
    receipt: dict[str, Any] = field(default_factory=dict)  # of the revocation
    _operators: set[str] = field(default_factory=set)
    _used: dict[str, int] = field(default_factory=dict)  # last code step by login

    @property
    def root(self) -> Path:
        """The installation's folder."""
        return Path(self.city.settings).parent

    async def command(self, who: str, *arguments: str, expect: int = 0) -> str:
        """Run `sekisho ARGUMENTS` as one operator; returns standard output. Raises NotShown for another exit status."""
        return await asyncio.to_thread(self._command, who, arguments, expect)

    def _command(self, who: str, arguments: tuple[str, ...], expect: int) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in _DISTURBING}
        environment["XDG_STATE_HOME"] = str(self.folder / f"operator-{who}")
        done = subprocess.run(  # noqa: S603  # this program itself
            [sys.executable, "-m", "cli", "-c", self.city.settings, *arguments], env=environment, text=True,
            capture_output=True, timeout=_COMMAND_WITHIN, check=False,
        )  # fmt: skip
        if done.returncode != expect:
            said = " ".join(done.stderr.split())[:400]
            raise NotShown(f"sekisho {' '.join(arguments[:3])}: exit {done.returncode}, expected {expect}: {said}")
        return done.stdout

    async def ask(self, who: str, *arguments: str) -> Any:
        """Run a command with `-o json` and return what it printed."""
        return json.loads(await self.command(who, *arguments, "-o", "json"))

    async def log_in(self, who: str) -> None:
        """Sign an operator in at the command line, once."""
        if who in self._operators:
            return
        self._operators.add(who)
        person = self.city.person(who)
        password, code = self.folder / f"{who}.password", self.folder / f"{who}.code"
        password.write_text(person.password + "\n", encoding="utf-8")
        code.write_text(await self.code(person) + "\n", encoding="utf-8")
        await self.command(who, "login", "-u", who, "--password-file", str(password), "--code-file", str(code))

    async def code(self, person: Person) -> str:
        """A code that this tour has not used yet; the next one is waited for where it must be."""
        step = max(int(time.time() // STEP), self._used.get(person.login, 0) + 1)
        self._used[person.login] = step
        await asyncio.sleep(max(0.0, (step - 1) * STEP - time.time() + 0.5))  # one step of drift is accepted
        return pyotp.TOTP(person.totp_secret).generate_otp(step)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, which promise clauses it shows, and how."""

    name: str
    clauses: tuple[str, ...]
    show: Callable[[Stage], Awaitable[Shown]]


def require(holds: object, otherwise: str) -> None:
    """Raise NotShown unless it holds."""
    if not holds:
        raise NotShown(otherwise)


def reference_in(text: str) -> str:
    """The 受付番号 on a page; raises NotShown where there is none."""
    found = re.search(r"\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3}\b", text)
    if found is None:
        raise NotShown("the page has no 受付番号")
    return found.group()
