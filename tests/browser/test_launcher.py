"""The launcher tells before the click: what may be opened now, what not and why, and what will be asked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.city import City
from tests.support.visitor import Visitor

_STATUS = "performance.getEntriesByType('navigation')[0].responseStatus"
Shoot = Callable[[Page, str], None]


@pytest.mark.promise("P7.launcher-agrees-with-gate")
def test_launcher_says_what_the_gate_does(city: City, page: Page, shoot: Shoot) -> None:
    city.add_app("住民記録", "juki.sekisho.localhost", "住民記録")
    zaimu = city.add_app("財務会計", "zaimu.sekisho.localhost", "財務")
    city.add_app("人事給与", "jinji.sekisho.localhost", "人事")
    visitor = Visitor(city, page, city.add_person("l1001"))
    visitor.set_up()
    usable, unusable = page.locator("a.app"), page.locator("li.item")
    expect(usable.filter(has_text="申請フォーム")).to_be_visible()
    expect(usable.filter(has_text="財務会計")).to_be_visible()
    expect(unusable.filter(has_text="住民記録")).to_contain_text("市が登録した端末から利用してください")
    expect(unusable.filter(has_text="住民記録").locator("li")).to_have_count(1)  # one missing device, said once
    expect(unusable.filter(has_text="人事給与")).to_contain_text("所属長を通じて申請してください")
    visitor.check()
    shoot(page, "launcher-some-refused")
    city.lock("app", zaimu.id, "決算作業のため18時まで停止します")
    page.reload()
    expect(unusable.filter(has_text="財務会計")).to_contain_text("決算作業のため18時まで停止します")
    page.get_by_role("link", name="English").click()
    expect(unusable.filter(has_text="住民記録")).to_contain_text("Check again")
    visitor.check()
    statuses = {}
    links = "links => links.map(link => [link.href, link.matches('a.app')])"
    for address, offered in page.locator("a.app, li.item a").evaluate_all(links):
        page.goto(address)
        page.wait_for_url(address)
        status = statuses[re.sub(r"https://(\w+)\..*", r"\1", address)] = page.evaluate(_STATUS)
        assert status == (200 if offered else 403), address
    # Other tests of the same city may have registered further apps.
    expected = {"forms": 200, "juki": 403, "zaimu": 403, "jinji": 403}
    assert expected.items() <= statuses.items()
    city.unlock_all()
