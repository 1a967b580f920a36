"""The sample city from an empty folder: made, served, used with curl as a clerk's browser would, stopped, resumed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.city import document
from cli.city.browser import Page
from cli.city.build import Site, build
from cli.city.sign_in import browser, sign_in
from cli.tour.run import STEPS, unshown
from tests.support.canary_watch import CANARIES
from tests.support.patience import PATIENT
from tests.support.real_parts import program

ROOT = Path(__file__).parents[2]
READY_WITHIN = 240.0
STOPS_WITHIN = 25.0  # seconds, also while connections are open (a drain may take 30 s)
LAST_WORDS = "audit verify"  # the welcome's last line
pytestmark = pytest.mark.timeout(600)  # nine Python programs start, twice


def _free_port() -> int:
    for port in range(23_443, 27_000, 40):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class Demo:
    """`sekisho demo` on one folder, run once or again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def start(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "demo", "--directory", str(self.folder), "--listen",
                 f"127.0.0.1:{self.port}"],
                cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **PATIENT},
            )  # fmt: skip

    def wait(self) -> str:
        end = time.monotonic() + READY_WITHIN
        while LAST_WORDS not in (said := self._log.read_text(errors="replace")):
            assert self.process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)  # the welcome is a file
        return said

    def stop(self) -> int:
        CANARIES.processes()
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return found

    def sign_in(self, user: str, device: str, jar: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli", "demo", "sign-in", "--directory", str(self.folder), "--user", user,
                   "--cookie-jar", str(jar), *(("--device", device) if device else ()), *more]  # fmt: skip
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    def curl(self, url: str, jar: Path, device: str = "") -> tuple[int, str]:
        city = self.document
        found = [each for each in city["devices"] if each["name"] == device]
        machine = ["--cert", found[0]["certificate"], "--key", found[0]["key"]] if found else []
        done = subprocess.run(
            [str(program("curl")), "-s", "-L", "--max-time", "30", "-w", "\n%{http_code}", "-H", "Accept: text/html",
             "-b", str(jar), "--cacert", city["ca_file"], "--connect-to", f"::{city['address']}", *machine, url],
            capture_output=True, text=True, errors="replace", check=True,  # the app of 2009 writes Shift_JIS
        )  # fmt: skip
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    running = Demo(folder / "city", _free_port())
    running.start(folder / "said.txt")
    try:
        running.wait()
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def _app(demo: Demo, name: str) -> dict[str, Any]:
    return next(app for app in demo.document["apps"] if app["id"] == name)


def test_everyone_and_everything_is_in_the_document(demo: Demo) -> None:
    city = demo.document
    assert (len(city["users"]), len(city["devices"]), len(city["apps"])) == (12, 15, 7)
    assert len({user["department"].partition("(")[0] for user in city["users"]}) == 5
    assert all(user["password"] and user["totp_secret"] for user in city["users"])
    assert all(Path(device[name]).is_file() for device in city["devices"] for name in ("certificate", "key", "bundle"))
    assert (demo.folder / "demo.json").stat().st_mode & 0o777 == 0o600


def test_each_app_opens_for_the_right_person_and_for_no_other(demo: Demo, tmp_path: Path) -> None:
    opened: dict[str, set[str]] = {}
    for user, device in (("sato", "SHIMIN-PC-01"), ("takahashi", "ZEIMU-PC-01"), ("yamamoto", "JOHO-PC-01")):
        done = demo.sign_in(user, device, tmp_path / user)
        assert done.returncode == 0, done.stderr
        for app in demo.document["apps"]:
            status, text = demo.curl(app["url"], tmp_path / user, device)
            assert status in (200, 403), (user, app["id"], status, text[:300])
            if status == 200:
                opened.setdefault(app["id"], set()).add(user)
            else:
                assert "受付番号" in text
    everyone = {"sato", "takahashi", "yamamoto"}
    assert opened == {
        "juki": {"sato"}, "zeimu": {"takahashi"}, "zaimu": everyone, "groupware": everyone, "bunsho": everyone,
        "genai": everyone, "tokei": {"yamamoto"},
    }  # fmt: skip
    assert "sato" in demo.curl(_app(demo, "juki")["sample"], tmp_path / "sato", "SHIMIN-PC-01")[1]


def test_without_a_device_the_refusal_says_what_to_do(demo: Demo, tmp_path: Path) -> None:
    assert demo.sign_in("kato", "", tmp_path / "kato", "--app", "groupware").returncode == 0
    status, text = demo.curl(_app(demo, "groupware")["url"], tmp_path / "kato")
    assert status == 403
    assert "市が登録した端末から利用してください" in text


def test_who_has_no_passkey_is_told_so_where_one_is_asked_for(demo: Demo) -> None:
    """A code would lead back to the same question, again and again."""
    city = document.read(demo.folder)

    async def main() -> Page:
        async with browser(city, city.device("KAIKEI-PC-02")) as visitor:
            return await sign_in(visitor, city, city.person("watanabe"), city.app("zaimu").url + "shiharai")

    page = asyncio.run(main())
    assert page.url.path == "/step-up"
    assert "パスキーが必要です" in page.text
    assert 'href="/factors/passkey"' in page.text
    assert page.form("/step-up/totp") is None


def test_unknown_people_devices_and_apps_are_named(demo: Demo, tmp_path: Path) -> None:
    for wrong in (("nobody", "", ()), ("sato", "NO-PC", ()), ("sato", "", ("--app", "nothing"))):
        done = demo.sign_in(wrong[0], wrong[1], tmp_path / "jar", *wrong[2])
        assert done.returncode == 3
        assert "Traceback" not in done.stderr


@contextlib.contextmanager
def _listening_to_notices(demo: Demo, folder: Path) -> Iterator[None]:
    """Somebody has a page open whose events never end."""
    assert demo.sign_in("sato", "TELEWORK-01", folder / "sato", "--app", "groupware").returncode == 0
    device = next(each for each in demo.document["devices"] if each["name"] == "TELEWORK-01")
    with subprocess.Popen(
        [str(program("curl")), "-sN", "-b", str(folder / "sato"), "--cacert", demo.document["ca_file"], "--connect-to",
         f"::{demo.document['address']}", "--cert", device["certificate"], "--key", device["key"],
         _app(demo, "groupware")["url"] + "notices"],
        stdout=subprocess.PIPE,
    ) as curl:  # fmt: skip
        assert curl.stdout is not None
        assert curl.stdout.readline().startswith(b"data: ")
        yield
        curl.kill()


def test_the_city_stops_whole_and_resumes_with_the_same_accounts(demo: Demo, tmp_path: Path) -> None:
    before = demo.document
    with _listening_to_notices(demo, tmp_path):
        begun = time.monotonic()
        assert demo.stop() == 0
    assert time.monotonic() - begun < STOPS_WITHIN
    for each in (demo.port, *(app["port"] for app in before["apps"])):
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", each), 1):
            pass
    demo.start(tmp_path / "again.txt")
    demo.wait()
    assert demo.document == before
    assert demo.sign_in("ito", "KAIKEI-PC-01", tmp_path / "ito", "--app", "zaimu").returncode == 0
    assert demo.curl(_app(demo, "zaimu")["url"], tmp_path / "ito", "KAIKEI-PC-01")[0] == 200


def test_nothing_is_made_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(Exception, match="something is there already"):
        build(Site(tmp_path, "127.0.0.1", _free_port(), "sekisho.localhost"), time.time())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_tour_answers_for_every_clause_given_to_it() -> None:
    assert unshown([clause for step in STEPS for clause in step.clauses]) == []
    assert unshown([]) != []
