"""What a person does in a browser: sign in, set up, confirm. And what a page must be: accessible, clean console."""

from __future__ import annotations

import re
import time
from typing import Any

import pyotp
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import CDPSession, Page

from cli.tour.chromium import ARGUMENTS
from tests.support.canary_watch import CANARIES
from tests.support.city import City, Person

CHROMIUM = (
    *ARGUMENTS, "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP *.sekisho.localhost 127.0.0.1",
)  # fmt: skip
PASSWORD = "tsuki-no-hikari-88"
PATIENCE = 45_000  # milliseconds that a page may take on a busy machine
STARTS_WITHIN = 120_000  # milliseconds, the browser itself


class Visitor:
    """One person at one tab."""

    def __init__(self, city: City, page: Page, person: Person) -> None:
        self.city, self.page, self.person = city, page, person
        self.secret = ""
        self._last_step = 0

    def check(self) -> None:
        """Axe finds nothing, on the page as it is."""
        result = Axe().run(self.page)
        assert result.violations_count == 0, f"{self.page.url}\n{result.generate_report()}"

    def set_up(self, password: str = PASSWORD) -> None:
        """Use the letter: code, password, authenticator app."""
        page = self.page
        page.goto(f"{self.city.portal}/setup")
        self.fill(login=self.person.user.login, code=self.person.setup_code)
        self.fill(password=password, again=password)
        secret = page.locator("code.secret").text_content()
        assert secret is not None
        self.secret = secret.replace(" ", "")
        self.fill(code=self.code())
        page.wait_for_url(f"{self.city.portal}/")

    def sign_in(self, password: str = PASSWORD) -> None:
        """Fill in both steps of the sign-in form that is open."""
        self.fill(login=self.person.user.login, password=password)
        self.fill(code=self.code())

    def fill(self, **fields: str) -> None:
        """Fill a form's fields by id and send it."""
        CANARIES.learn_fields(fields, "form")
        for name, value in fields.items():
            self.page.locator(f"#{name}").fill(value)
        last = self.page.locator(f"#{list(fields)[-1]}")
        with self.page.expect_navigation():
            last.locator("xpath=ancestor::form").locator("button[type=submit]").click()
        for cookie in self.page.context.cookies():
            CANARIES.learn_cookies(f"{cookie['name']}={cookie['value']}")

    def code(self) -> str:
        """A code that was not used yet: the next step is taken where the current one was."""
        step = max(int(time.time() // 30), self._last_step + 1)
        self._last_step = step
        return pyotp.TOTP(self.secret).generate_otp(step)


def add_authenticator(page: Page, **options: Any) -> tuple[CDPSession, str]:
    """Give the tab a virtual authenticator with user verification (WebDriver, "Add Virtual Authenticator")."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    settings = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": settings | options})
    return session, made["authenticatorId"]


def console_faults(page: Page) -> list[str]:
    """A list that fills with what the browser complains about (policy violations, script errors)."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults


def without_expected(faults: list[str]) -> list[str]:
    """Leave out the browser's remark that a form was answered with an error status, which is meant."""
    return [fault for fault in faults if not re.search(r"status of (4\d\d|503)", fault)]
