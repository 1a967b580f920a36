"""The pages by which workers refuse, in a real Chromium: readable by everybody, in both languages, on every width."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.city import City
from tests.support.visitor import Visitor, console_faults, without_expected

Shoot = Callable[[Page, str], None]


@pytest.mark.promise("P7.refusals-explained-and-accessible")
@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_shape_of_refusal_is_accessible(city: City, chromium: Browser, shoot: Shoot, language: str) -> None:
    page = chromium.new_context(ignore_https_errors=True, locale=language).new_page()
    visitor, faults = Visitor(city, page, city.add_person(f"r{language}")), console_faults(page)
    visitor.set_up()
    city.add_app("住民記録", "juki.sekisho.localhost", "住民記録")
    city.add_app("止まったアプリ", "dead.sekisho.localhost", "試験")
    message = "決算作業のため18時まで停止します <b>"
    shapes = {
        "unmet": ("juki", "登録した端末から"), "no-rule": ("dead", "受付番号" if language == "ja" else "Reference"),
        "unknown-host": ("nobody", "受付番号" if language == "ja" else "Reference"), "locked": ("forms", message),
    }  # fmt: skip
    city.lock("app", "forms", message)
    for name, (host, told) in shapes.items():
        page.goto(f"https://{host}.sekisho.localhost:{city.port}/some/page")
        expect(page.locator("main")).to_contain_text(told)
        expect(page.locator("html")).to_have_attribute("lang", language)
        assert page.locator(".reference").inner_text()
        visitor.check()
        shoot(page, f"refusal-{name}-{language}")
    city.unlock_all()
    assert without_expected(faults) == []
    page.context.close()
