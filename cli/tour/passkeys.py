"""Steps with a passkey: signing in with it alone, and the step-up that a payment asks for."""

from __future__ import annotations

import time

from cli.city.document import City
from cli.tour.chromium import Chromium
from cli.tour.stage import CannotShow, Shown, Stage, require


async def by_passkey(stage: Stage) -> Shown:
    """Watanabe binds a passkey, signs out, and comes in with the passkey alone."""
    browser, city = _browser(stage), stage.city
    page, person = browser.page, city.person("watanabe")
    await page.goto(city.portal)
    await browser.enter(stage, person)
    await page.wait_for_url(city.portal)
    await page.goto(f"{city.portal}factors/passkey")
    await page.locator("form[data-passkey] button[type=submit]").click()
    await page.wait_for_url(f"{city.portal}factors*")
    await _sign_out(browser, city)
    begun = time.monotonic()
    await page.goto(f"{city.portal}sign-in")  # the waiting passkey answers by itself (conditional mediation)
    await page.wait_for_url(city.portal)
    spent = time.monotonic() - begun
    who = await page.locator(".person").inner_text()
    require(person.name in who, f"the portal greets {who}")
    return Shown("実際の Chromium で、パスキーだけでサインイン", f"{spent:.2f} s")


async def steps_up(stage: Stage) -> Shown:
    """Watanabe signs in with a code; paying wants the passkey; she is back on the same page and pays."""
    browser, city = _browser(stage), stage.city
    page, person = browser.page, city.person("watanabe")
    await _sign_out(browser, city)
    wanted = f"{city.app('zaimu').url}shiharai"
    await page.route("**/static/passkey.js", lambda route: route.abort())  # a person who types the password instead
    await page.goto(wanted)
    await browser.enter(stage, person)
    await page.unroute("**/static/passkey.js")
    await page.wait_for_url("**/step-up?*")  # the pages in between lead on by themselves
    require(await page.locator("input[name=amount]").count() == 0, "the payment form opened without a passkey")
    begun = time.monotonic()
    await page.goto(wanted)
    link = page.locator("a[href*='/step-up']")
    if await link.count():
        await link.first.click()
    await page.locator("form[data-passkey] button[type=submit]").click()
    await page.wait_for_url(wanted)
    spent = time.monotonic() - begun
    await page.locator("input[name=what]").fill("備品")
    await page.locator("input[name=amount]").fill("1,000")
    await page.locator("button").click()
    await page.wait_for_url(city.app("zaimu").url)
    require("備品" in await page.content(), "the payment did not arrive")
    return Shown("支払はパスキーの再認証を求め、同じ頁に戻って完了", f"{spent:.2f} s")


async def _sign_out(browser: Chromium, city: City) -> None:
    """Sign out and wait for the answer, which clears this browser's cookies."""
    await browser.page.goto(f"{city.portal}sign-out")
    async with browser.page.expect_navigation():
        await browser.page.locator("main form button[type=submit]").click()


def _browser(stage: Stage) -> Chromium:
    if stage.chromium is None:
        raise CannotShow("Chromium did not start")
    return stage.chromium
