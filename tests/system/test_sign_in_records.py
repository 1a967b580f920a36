"""What sign-in leaves behind: limits that hold in parallel, records without a secret."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from audit.query import Query
from audit.search import search
from tests.support.city import City, running_city
from tests.support.form_client import PASSWORD, Client, enrol
from tests.support.growing_files import contents
from tests.support.nasty import recovered
from tests.support.steward_process import session

CANARY = "kanaria-no-uta-4711"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def city(folder: Path) -> Iterator[City]:
    with running_city(folder) as running:
        running.add_app()
        running.use_policy()
        yield running


def halfway(city: City, login: str) -> tuple[Client, httpx.Response]:
    client = Client(city)
    moved = client.submit(client.get("/sign-in"), "/sign-in/password", login=login, password=PASSWORD)
    assert moved.status_code == 303
    return client, client.get(moved.headers["Location"])


@pytest.mark.promise("P1.totp-once-in-parallel")
def test_one_code_sent_twice_at_once_signs_in_once(city: City) -> None:
    app = enrol(city, city.add_person("c1001"))
    waiting = [halfway(city, "c1001") for _ in range(4)]
    code = app.code()
    with ThreadPoolExecutor(len(waiting)) as at_once:
        answers = list(at_once.map(lambda pair: pair[0].submit(pair[1], "/sign-in/totp", code=code), waiting))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]


@pytest.mark.promise("P1.concurrent-sessions-limited")
def test_the_oldest_sign_in_gives_way_and_is_told_why(city: City) -> None:
    person = city.add_person("c1002")
    app = enrol(city, person)  # the first session
    clients = []
    for _ in range(2):
        client, page = halfway(city, "c1002")
        assert client.submit(page, "/sign-in/totp", code=app.code()).status_code == 200
        clients.append(client)
    assert [client.get("/").status_code for client in clients] == [200, 200]
    for name in ("s-third", "s-fourth"):  # three is the limit: the set-up's session goes, then the older browser
        city.command("session.start", session=session(name, person.user.id).to_row(), replaces=None)
    assert [client.get("/").status_code for client in clients] == [303, 200]
    assert "別の端末でサインインしたため" in clients[0].get("/sign-in").text


@pytest.mark.promise("P1.no-secret-left-behind")
def test_nothing_secret_stands_in_any_file(city: City, folder: Path) -> None:
    person = city.add_person("c1004")
    app = enrol(city, person)
    client, page = halfway(city, "c1004")
    assert client.submit(page, "/sign-in/totp", code=app.code()).status_code == 200
    wrong = Client(city)
    wrong.submit(wrong.get("/sign-in"), "/sign-in/password", login="c1004", password=CANARY)
    wrong.submit(wrong.get("/sign-in"), "/sign-in/password", login=CANARY, password="x")
    kinds = {r["event.action"] for r in search(city.settings.paths.journal, Query(filters={"user.name": "c1004"}))}
    assert kinds >= {"auth.setup", "factor.enrolled", "auth.password", "auth.totp", "session.started"}
    needles = {
        "password": PASSWORD, "wrong password": CANARY, "secret": app.secret, "set-up code": person.setup_code,
        "set-up code without hyphens": person.setup_code.replace("-", ""), **client.cookies(),
    }  # fmt: skip
    assert all(len(needle) >= 12 for needle in needles.values())
    found = [
        (name, str(file.relative_to(folder)))
        for file, content in contents(folder)
        for name, needle in needles.items() if needle.encode() in content
    ]  # fmt: skip
    assert found == []
    assert folder.joinpath("log.txt").exists()


@pytest.mark.promise("P5.injection-one-record")
def test_a_browsers_name_of_any_bytes_signs_in_and_is_told_byte_by_byte(city: City) -> None:
    app = enrol(city, city.add_person("c1005"))
    strange = b"Mozilla \xff\xe2\x80\xa8\x80 \\x41 \xe2\x80\xae\xed\xa0\x80"
    client = Client(city)
    client._http.headers = httpx.Headers([(b"User-Agent", strange)])
    moved = client.submit(client.get("/sign-in"), "/sign-in/password", login="c1005", password=PASSWORD)
    answer = client.submit(client.get(moved.headers["Location"]), "/sign-in/totp", code=app.code())
    assert answer.status_code == 200
    told = [
        record["user_agent.original"]
        for record in search(city.settings.paths.journal, Query(filters={"user.name": "c1005"}))
        if record["event.action"] in ("auth.password", "auth.totp", "session.started")
    ]
    assert len([each for each in told if recovered(each) == strange]) == 3
