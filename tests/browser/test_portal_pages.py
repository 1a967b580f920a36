"""Every page of the portal in a real Chromium: it works, it is accessible, the browser has nothing to complain of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.city import City
from tests.support.visitor import PASSWORD, Visitor, add_authenticator, console_faults, without_expected

Shoot = Callable[[Page, str], None]


def test_first_day_with_password_and_app(city: City, page: Page, shoot: Shoot) -> None:
    visitor, faults = Visitor(city, page, city.add_person("a1001")), console_faults(page)
    page.goto(f"{city.portal}/setup")
    visitor.check()
    shoot(page, "setup-code")
    visitor.fill(login="a1001", code="AAAA-AAAA-AAAA-AAAA")
    expect(page.locator("#error")).to_be_focused()
    expect(page).to_have_title("エラー: 初期設定 | 見本市")
    visitor.check()
    shoot(page, "setup-code-wrong")
    visitor.fill(login="A1001", code=visitor.person.setup_code.lower().replace("-", " "))
    visitor.check()
    shoot(page, "setup-password")
    visitor.fill(password="password", again="password")
    expect(page.locator("#error")).to_contain_text("推測されやすい")
    visitor.check()
    visitor.fill(password=PASSWORD, again=PASSWORD)
    visitor.check()
    expect(page.locator("svg.qr")).to_be_visible()
    page.locator("summary").click()
    shoot(page, "setup-totp")
    visitor.secret = (page.locator("code.secret").text_content() or "").replace(" ", "")
    visitor.fill(code="000000")
    visitor.check()
    visitor.fill(code=visitor.code())
    page.wait_for_url(f"{city.portal}/")
    visitor.check()
    shoot(page, "launcher")
    assert without_expected(faults) == []


@pytest.mark.promise("P7.refusals-explained-and-accessible")
def test_sign_in_page_explains_mistakes(city: City, page: Page, shoot: Shoot) -> None:
    visitor, faults = Visitor(city, page, city.add_person("a1002")), console_faults(page)
    page.goto(f"{city.app}/form?year=8")
    expect(page.locator(".lead")).to_contain_text("申請フォーム")
    visitor.check()
    shoot(page, "sign-in")
    page.locator(".head .tool").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    visitor.check()
    shoot(page, "sign-in-en")
    page.locator(".head .tool").click()
    visitor.fill(login="a1002", password="wrong-password")
    expect(page.locator("#error")).to_be_focused()
    expect(page.locator("#error")).to_contain_text("職員IDまたはパスワードが正しくありません。")
    visitor.check()
    shoot(page, "sign-in-wrong")
    assert without_expected(faults) == []


def test_lands_on_the_address_first_asked_for(city: City, page: Page, shoot: Shoot) -> None:
    visitor = Visitor(city, page, city.add_person("a1003"))
    visitor.set_up()
    page.goto(f"{city.portal}/sign-out")
    visitor.check()
    shoot(page, "sign-out")
    page.get_by_role("button", name="サインアウトする").click()
    expect(page.locator("h1")).to_have_text("サインアウトしました")
    visitor.check()
    shoot(page, "signed-out")
    page.goto(f"{city.app}/form?year=8&kind=a%20b")
    visitor.fill(login="ａ1003", password=PASSWORD)
    visitor.check()
    shoot(page, "second-totp")
    visitor.fill(code="123456")
    expect(page.locator("#error")).to_contain_text("確認コードが正しくありません。")
    visitor.check()
    shoot(page, "second-totp-wrong")
    page.locator("#code").fill(" ".join(visitor.code()))
    page.get_by_role("button", name="サインイン").click()
    page.wait_for_url(f"{city.app}/form?year=8&kind=a%20b")
    cookies = page.context.cookies()
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies if "sekisho" in cookie["name"])
    told = page.evaluate("fetch('/.sekisho/whoami').then(r => r.json())")
    assert told["user"]["login"] == "a1003"
    assert 0 < told["expires_in"] <= 32_400


def test_passkey_alone_from_the_letter_to_sign_in(city: City, page: Page, shoot: Shoot) -> None:
    visitor, faults = Visitor(city, page, city.add_person("a1004")), console_faults(page)
    add_authenticator(page)
    page.goto(f"{city.portal}/setup")
    visitor.fill(login="a1004", code=visitor.person.setup_code)
    page.get_by_role("link", name="パスワードを使わず").click()
    visitor.check()
    shoot(page, "setup-passkey")
    page.get_by_role("button", name="パスキーを作る").click()
    page.wait_for_url(f"{city.portal}/")
    page.goto(f"{city.portal}/factors")
    visitor.check()
    shoot(page, "factors")
    page.goto(f"{city.portal}/sign-out")
    page.get_by_role("button", name="サインアウトする").click()
    page.goto(f"{city.app}/after-passkey")
    page.wait_for_url(f"{city.app}/after-passkey")  # the waiting passkey answers by itself (conditional UI)
    page.goto(f"{city.portal}/step-up?to=/sessions")
    visitor.check()
    shoot(page, "step-up-passkey")
    page.get_by_role("button", name="パスキーで確認する").click()
    page.wait_for_url(f"{city.portal}/sessions")
    visitor.check()
    shoot(page, "sessions")
    assert without_expected(faults) == []


def test_another_person_on_the_same_browser(city: City, page: Page, shoot: Shoot) -> None:
    first, second = Visitor(city, page, city.add_person("a1005")), Visitor(city, page, city.add_person("a1006"))
    first.set_up()
    page.goto(f"{city.app}/login")
    page.wait_for_url(f"{city.app}/login")
    page.evaluate("localStorage.setItem('draft', 'of the first person')")
    assert any(cookie["name"] == "legacy" for cookie in page.context.cookies())
    page.goto(f"{city.portal}/setup")
    second.fill(login="a1006", code=second.person.setup_code)
    second.fill(password=PASSWORD, again=PASSWORD)
    second.secret = (page.locator("code.secret").text_content() or "").replace(" ", "")
    second.fill(code=second.code())
    expect(page.locator("h1")).to_have_text("利用者が変わりました")
    second.check()
    shoot(page, "changed-person")
    assert [cookie for cookie in page.context.cookies() if cookie["name"] == "legacy"] == []
    page.get_by_role("button", name="続ける").click()
    page.wait_for_url(f"{city.portal}/")
    page.goto(f"{city.app}/mine")
    page.wait_for_url(f"{city.app}/mine")
    assert page.locator("#cookie").text_content() == ""
    assert page.evaluate("localStorage.getItem('draft')") is None


def test_adding_and_ending(city: City, page: Page, shoot: Shoot) -> None:
    visitor = Visitor(city, page, city.add_person("a1007"))
    visitor.set_up()
    page.goto(f"{city.portal}/factors/totp")
    visitor.check()
    shoot(page, "factors-totp")
    add_authenticator(page)
    page.goto(f"{city.portal}/factors/passkey")
    page.locator("#label").fill("自席のパソコン")
    page.get_by_role("button", name="パスキーを作る").click()
    expect(page.locator("[role=status]")).to_contain_text("追加しました")
    visitor.check()
    page.locator("li", has_text="自席のパソコン").get_by_role("button").click()
    expect(page.locator("[role=status]")).to_contain_text("削除しました")
    page.locator("li", has_text="認証アプリ").get_by_role("button").first.click()
    expect(page.locator("#error")).to_contain_text("サインインできなくなります")
    visitor.check()
    shoot(page, "factors-last")


def test_unknown_page_is_refused_with_a_number(city: City, page: Page, shoot: Shoot) -> None:
    visitor = Visitor(city, page, city.add_person("a1008"))
    page.goto(f"{city.portal}/nothing-here")
    expect(page.locator(".number")).not_to_be_empty()
    visitor.check()
    shoot(page, "not-found")
