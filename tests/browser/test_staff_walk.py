"""What staff meet beyond the first day: signing in again, a new password, a payment, a counter PC that is shared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.support.city import City
from tests.support.visitor import PASSWORD, Visitor, add_authenticator, console_faults, without_expected

Shoot = Callable[[Page, str], None]
NEW_PASSWORD = "kaze-no-machi-2026"


def end_all(city: City, visitor: Visitor, reason: str) -> None:
    city.command(
        "session.end", selector={"user": visitor.person.user.id}, reason=reason, message="", by="test", why="test"
    )


@pytest.mark.promise("P7.sign-in-says-why")
@pytest.mark.parametrize(
    ("reason", "told"),
    [("session_idle", "操作がなかったため"), ("session_expired", "有効期間が終わりました"),
     ("session_revoked", "管理者の操作により"), ("session_replaced", "別の端末でサインイン")],
)  # fmt: skip
def test_the_sign_in_page_says_why_one_is_here(city: City, page: Page, shoot: Shoot, reason: str, told: str) -> None:
    visitor = Visitor(city, page, city.add_person(f"w{reason}"))
    visitor.set_up()
    end_all(city, visitor, reason)
    page.goto(f"{city.portal}/")
    expect(page.locator("[role=status]")).to_contain_text(told)
    visitor.check()
    shoot(page, f"sign-in-{reason}")
    page.goto(f"{city.portal}/sign-in?lang=en&reason={reason}")
    visitor.check()
    page.context.clear_cookies()
    page.goto(f"{city.portal}/sign-in?reason=%3Cb%3Eyour+account+was+stolen")
    expect(page.locator("[role=status]")).to_have_count(0)


def test_a_locked_person_is_told_on_the_portal(city: City, page: Page) -> None:
    visitor = Visitor(city, page, city.add_person("w2001"))
    visitor.set_up()
    city.lock("user", visitor.person.user.id, "")
    page.goto(f"{city.portal}/")
    expect(page.locator("[role=status]")).to_contain_text("利用が止められています")
    visitor.check()
    city.unlock_all()


@pytest.mark.promise("P1.password-change-ends-others")
def test_a_new_password_ends_the_other_sign_ins(city: City, page: Page, chromium: Browser, shoot: Shoot) -> None:
    visitor = Visitor(city, page, city.add_person("w2002"))
    visitor.set_up()
    elsewhere = chromium.new_context(ignore_https_errors=True, locale="ja-JP").new_page()
    other = Visitor(city, elsewhere, visitor.person)
    elsewhere.goto(f"{city.portal}/sign-in")
    other.fill(login="w2002", password=PASSWORD)
    other.fill(code=visitor.code())
    elsewhere.wait_for_url(f"{city.portal}/")
    page.goto(f"{city.portal}/factors")
    page.get_by_role("link", name="パスワードを変更").click()
    visitor.check()
    shoot(page, "password")
    visitor.fill(current="not-the-password", password=NEW_PASSWORD, again=NEW_PASSWORD)
    expect(page.locator("#error")).to_contain_text("現在のパスワードが正しくありません。")
    visitor.check()
    visitor.fill(current=PASSWORD, password="w2002-w2002", again="w2002-w2002")
    expect(page.locator("#error")).to_contain_text("職員ID、氏名")
    visitor.fill(current=PASSWORD, password=NEW_PASSWORD, again=NEW_PASSWORD)
    expect(page.locator("[role=status]")).to_contain_text("パスワードを変更しました")
    elsewhere.reload()
    expect(elsewhere.locator("h1")).to_have_text("サインイン")
    other.fill(login="w2002", password=PASSWORD)
    expect(elsewhere.locator("#error")).to_be_visible()
    other.fill(login="w2002", password=NEW_PASSWORD)
    expect(elsewhere.locator("h1")).to_have_text("確認コードの入力")
    elsewhere.context.close()


@pytest.mark.promise("P7.step-up-returns-to-page")
def test_a_payment_wants_a_passkey_and_comes_back(city: City, page: Page, shoot: Shoot) -> None:
    city.add_app("財務会計", "zaimu.sekisho.localhost", "財務")
    zaimu = f"https://zaimu.sekisho.localhost:{city.port}"
    visitor, faults = Visitor(city, page, city.add_person("w2003")), console_faults(page)
    visitor.set_up()
    page.goto(f"{zaimu}/shiharai/8?nendo=8")
    expect(page.locator("h1")).to_have_text("パスキーが必要です")  # there is none yet
    visitor.check()
    _, authenticator = add_authenticator(page)
    page.goto(f"{city.portal}/factors/passkey")
    page.get_by_role("button", name="パスキーを作る").click()
    expect(page.locator("[role=status]")).to_contain_text("追加しました")
    page.goto(f"{zaimu}/shiharai/8?nendo=8")
    expect(page.locator("h1")).to_have_text("パスキーで確認")
    visitor.check()
    shoot(page, "step-up-payment")
    page.get_by_role("button", name="パスキーで確認する").click()
    page.wait_for_url(f"{zaimu}/shiharai/8?nendo=8")
    assert page.locator("#path").text_content() == "/shiharai/8?nendo=8"
    page.goto(f"{zaimu}/kakunin")
    expect(page.locator("h1")).to_have_text("確認コードの入力")
    visitor.fill(code=visitor.code())
    page.wait_for_url(f"{zaimu}/kakunin")
    assert without_expected(faults) == []
    assert authenticator


def test_a_passkey_that_was_not_used(city: City, page: Page, shoot: Shoot) -> None:
    visitor = Visitor(city, page, city.add_person("w2004"))
    page.goto(f"{city.portal}/sign-in")
    session, authenticator = add_authenticator(page, isUserVerified=False)
    session.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": authenticator, "enabled": False})
    page.evaluate("() => { navigator.credentials.get = () => Promise.reject(new DOMException('', 'NotAllowedError')) }")
    page.get_by_role("button", name="パスキーでサインイン").click()
    failure = page.locator("[data-failure]")
    expect(failure).to_be_visible()
    expect(failure).to_contain_text("パスキーの操作が完了しませんでした。")
    expect(failure).not_to_contain_text("NotAllowedError")
    expect(failure).to_be_focused()
    visitor.check()
    shoot(page, "passkey-cancelled")


@pytest.mark.promise("P1.counter-pc-next-person")
def test_a_counter_pc_serves_nobody_as_the_person_before(city: City, page: Page) -> None:
    first, second = Visitor(city, page, city.add_person("w2005")), Visitor(city, page, city.add_person("w2006"))
    second.set_up()
    page.context.clear_cookies()
    first.set_up()
    page.goto(f"{city.app}/login")
    page.wait_for_url(f"{city.app}/login")
    app_cookie = next(c for c in page.context.cookies() if c["name"] == "__Host-sekisho-app")
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 (playwright wants a function)
    page.context.clear_cookies(name="__Host-sekisho")  # the browser forgot the portal; the app's cookies stayed behind
    page.goto(f"{city.portal}/sign-in")
    second.sign_in()
    page.get_by_role("button", name="続ける").click()
    page.wait_for_url(f"{city.portal}/")
    page.goto(f"{city.app}/mine")
    page.wait_for_url(f"{city.app}/mine")
    assert page.evaluate("fetch('/.sekisho/whoami').then(r => r.json())")["user"]["login"] == "w2006"
    cleared = {answer.all_headers().get("clear-site-data") for answer in answers}
    assert cleared >= {'"cookies"', '"storage"'}
    assert page.locator("#cookie").text_content() == ""
    mine = next(c for c in page.context.cookies() if c["name"] == "__Host-sekisho-app")
    assert mine["value"] != app_cookie["value"]
