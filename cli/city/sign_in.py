"""Signing in as a person does: id and password, then the code of the authenticator app, then on to the apps."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pyotp

from cli.city.browser import Browser, BrowserFault, Form, Identity, Page
from cli.city.document import City, CityDevice, Person

STEP = 30  # seconds that a code lives (RFC 6238)


class SignInFailed(Exception):
    """The portal did not let this person in."""


def browser(city: City, device: CityDevice | None = None, source: str = "") -> Browser:
    """A browser on `device` (None: one that the city does not know). Raises OSError."""
    identity = None if device is None else Identity(Path(device.certificate), Path(device.key))
    return Browser(city.address.rpartition(":")[0].strip("[]"), Path(city.ca_file), identity, source)


async def sign_in(visitor: Browser, city: City, person: Person, url: str = "") -> Page:
    """Sign in, starting from `url` (default: the portal), and return the page it ends on. Raises SignInFailed."""
    page = await visitor.open(url or city.portal)
    form = page.form("/sign-in/password")
    if form is None:
        if page.status >= 500:
            raise SignInFailed(f"{person.login}: the portal answered {page.status} at {page.url.path}")
        return page  # signed in already
    page = await visitor.submit(page, form, login=person.login, password=person.password)
    if page.form("/sign-in/totp") is None and page.status == 200:
        page = await visitor.open(page.url.update_query(method="totp"))
    page = await show_code(visitor, page, "/sign-in/totp", person)
    finish = page.form("/sign-in/finish")
    return page if finish is None else await visitor.submit(page, finish)


async def show_code(visitor: Browser, page: Page, action: str, person: Person) -> Page:
    """Answer a page that asks for a code; each code counts once, so the next one is waited for where it must be.

    Raises SignInFailed where the page does not ask, or takes no code.
    """
    otp = pyotp.TOTP(person.totp_secret)
    step = int(time.time() // STEP)
    for candidate in (step, step + 1, step + 2):
        form: Form | None = page.form(action)
        if form is None:
            raise SignInFailed(f"{person.login}: the portal answered {page.status} at {page.url.path}")
        early = candidate * STEP - STEP - time.time()  # one step of drift is accepted
        await asyncio.sleep(max(0.0, early + 1.0))
        page = await visitor.submit(page, form, code=otp.generate_otp(candidate))
        if page.form(action) is None:
            return page
    raise SignInFailed(f"{person.login}: no code was accepted")


async def visit_apps(visitor: Browser, city: City, apps: tuple[str, ...]) -> dict[str, int]:
    """Open each app so that its host hands over a session of its own; returns the status of each."""
    found = {}
    for app in apps:
        try:
            found[app] = (await visitor.open(city.app(app).url)).status
        except BrowserFault:
            found[app] = 0
    return found
