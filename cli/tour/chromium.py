"""A real Chromium with a device certificate and a virtual authenticator (W3C WebAuthn, "Virtual Authenticators").

Names are not resolved: a small CONNECT proxy of ours leads every host of the city to its one address, and no other
host anywhere. The city's CA is in no store of this browser, so it is told to accept it; our other clients verify.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cli.city.document import City, CityDevice, Person
from cli.tour.stage import CannotShow, Stage, require

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_PATIENCE = 20_000  # milliseconds
_CHUNK = 65_536


class Chromium:
    """One browser profile on one device, with one tab."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context, self.page = context, page

    async def fill(self, **fields: str) -> None:
        """Fill a form's fields by id and send it."""
        for name, value in fields.items():
            await self.page.locator(f"#{name}").fill(value)
        last = self.page.locator(f"#{list(fields)[-1]}")
        async with self.page.expect_navigation():
            await last.locator("xpath=ancestor::form").locator("button[type=submit]").click()

    async def enter(self, stage: Stage, person: Person) -> None:
        """Sign in on the form that is open, with password and code, also where a passkey is offered first."""
        await self.fill(login=person.login, password=person.password)
        if not await self.page.locator("#code").count():
            await self.page.locator("a[href*='method=totp']").click()
        await self.fill(code=await stage.code(person))


@asynccontextmanager
async def chromium(city: City, device: CityDevice) -> AsyncIterator[Chromium]:
    """Start the browser. Raises CannotShow where Chromium or playwright is absent."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise CannotShow("Chromium is missing: scripts/system-packages installs it")
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise CannotShow("playwright is missing: scripts/venv installs it") from error
    origins = [city.portal.rstrip("/"), *(app.url.rstrip("/") for app in city.apps)]
    async with _proxy(city) as server, async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        context = await started.new_context(
            ignore_https_errors=True, locale="ja-JP", proxy={"server": server, "bypass": "<-loopback>"},
            client_certificates=[
                {"origin": each, "certPath": device.certificate, "keyPath": device.key} for each in origins
            ],
        )  # fmt: skip
        context.set_default_timeout(_PATIENCE)
        try:
            page = await context.new_page()
            await _authenticator(context, page)
            yield Chromium(context, page)
        finally:
            await started.close()


async def _authenticator(context: BrowserContext, page: Page) -> None:
    session = await context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    require(made.get("authenticatorId"), "Chromium has no virtual authenticator")


@asynccontextmanager
async def _proxy(city: City) -> AsyncIterator[str]:
    host, _, port = city.address.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            wanted = head.split(b" ", 2)[1].decode("ascii", "replace")
            if wanted.rpartition(":")[0].endswith(f".{city.domain}"):
                far_reader, far_writer = await asyncio.open_connection(host.strip("[]"), int(port))
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
            else:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
