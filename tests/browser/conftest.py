"""A real Chromium against the real processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.city import City, running_city
from tests.support.real_parts import program
from tests.support.visitor import CHROMIUM, PATIENCE, STARTS_WITHIN

WIDTHS = (360, 768, 1280)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """One running installation for all browser tests; each test brings its own people."""
    with running_city(tmp_path_factory.mktemp("browser")) as running:
        running.add_app()
        running.use_policy()
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(program("chromium")), args=list(CHROMIUM), timeout=STARTS_WITHIN
        )
        yield browser
        browser.close()


@pytest.fixture
def browser_context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser without a past. The demo's certificate authority is not in its store, so it is told to accept it."""
    context = chromium.new_context(ignore_https_errors=True, locale="ja-JP")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Page:
    """One tab."""
    return browser_context.new_page()


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[[Page, str], None]:
    """Take a picture at each width; kept in the folder that SEKISHO_SCREENSHOTS names."""
    folder = Path(os.environ.get("SEKISHO_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} at {width}"
            page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)

    return take
