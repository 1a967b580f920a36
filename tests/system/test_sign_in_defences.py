"""Sign-in against attackers, on the real processes: no enumeration, waiting, replay, forged forms, open redirects."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.support.city import City, running_city
from tests.support.form_client import PASSWORD, Client, enrol


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with running_city(tmp_path_factory.mktemp("defences")) as running:
        running.add_app()
        running.use_policy()
        yield running


@pytest.mark.promise("P1.no-account-enumeration")
def test_unknown_and_known_accounts_look_alike(city: City) -> None:
    enrol(city, city.add_person("b1001"))
    answers = []
    for login in ("b1001", "nobody-here"):
        client = Client(city)
        started = time.perf_counter()
        answer = client.submit(client.get("/sign-in"), "/sign-in/password", login=login, password="wrong-password")
        text = re.sub(r'value="[^"]*"|data-options="[^"]*"', "", answer.text)
        answers.append((answer.status_code, text, time.perf_counter() - started))
    assert answers[0][:2] == answers[1][:2]
    assert answers[0][0] == 422
    assert answers[1][2] > 0.02, "an unknown account costs a password hash too"


@pytest.mark.promise("P1.lockout-one-counter")
def test_every_spelling_counts_and_waits_with_the_right_password(city: City) -> None:
    enrol(city, city.add_person("b1002"))
    for login in ("b1002", "B1002", "ｂ1002", " b1002 ", "b1002@city.example.jp"):
        client = Client(city)
        client.submit(client.get("/sign-in"), "/sign-in/password", login=login, password="wrong-password")
    client = Client(city)
    answer = client.submit(client.get("/sign-in"), "/sign-in/password", login="b1002", password=PASSWORD)
    assert answer.status_code == 422
    assert "一時的にサインインできません" in answer.text


@pytest.mark.promise("P1.totp-once")
def test_a_code_signs_in_once(city: City) -> None:
    code = enrol(city, city.add_person("b1003")).code()
    outcomes = []
    for _ in range(2):
        client = Client(city)
        moved = client.submit(client.get("/sign-in"), "/sign-in/password", login="b1003", password=PASSWORD)
        assert moved.status_code == 303
        answer = client.submit(client.get(moved.headers["Location"]), "/sign-in/totp", code=code)
        outcomes.append((answer.status_code, "使用済み" in answer.text))
    assert outcomes == [(200, False), (422, True)]


def test_the_setup_code_works_once(city: City) -> None:
    person = city.add_person("b1004")
    enrol(city, person)
    client = Client(city)
    answer = client.submit(client.get("/setup"), "/setup", login="b1004", code=person.setup_code)
    assert answer.status_code == 422


@pytest.mark.promise("P1.forged-forms-refused")
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
     {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_forms_of_other_sites_are_refused(city: City, headers: dict[str, str]) -> None:
    client = Client(city)
    page = client.get("/sign-in")
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert token is not None
    fields = {"form_token": token[1], "login": "b1001", "password": PASSWORD}
    assert client.post("/sign-in/password", fields, **headers).status_code == 403
    other = Client(city)  # the same form, from a browser that was never shown it
    assert other.post("/sign-in/password", fields).status_code == 403


@pytest.mark.parametrize(
    "query", ["app=evil.example&to=/", "app=forms.sekisho.localhost.evil.example&to=/", "to=//evil.example"]
)
def test_no_way_leads_off_site(city: City, query: str) -> None:
    page = Client(city).get(f"/sign-in?{query}")
    assert page.status_code == 200
    assert "evil.example" not in re.sub(r'href="/sign-in\?[^"]*"', "", page.text)
