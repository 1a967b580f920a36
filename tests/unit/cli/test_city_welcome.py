"""What the demo prints: every secret whole, however narrow the terminal is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.city import applications, document, welcome
from cli.city.build import Site, build
from cli.city.document import City, CityApp, CityDevice, FirstSetUp, Person, Simulator
from cli.failure import Failure

PERSON = Person("sato", "佐藤 花子", "情報政策課(委託先)", ("ciso", "operator"), "yutashi-nikina-noyuna", "Y" * 32)
DEVICE = CityDevice("SHIMIN-PC-01", "sato", "Windows", "u", "/c.pem", "/c.key", "/c.p12", "727f5ac5013e")
CITY = City(
    portal="https://portal.sekisho.localhost:8443/", domain="sekisho.localhost", address="127.0.0.1:8443",
    ca_file="/d/ca.pem", settings="/d/sekisho.toml", admin_socket="/d/run/admin.sock", users=(PERSON,),
    devices=(DEVICE,), apps=(CityApp("juki", "住民記録", "https://juki.x/", "https://juki.x/1", "3A", 8445),),
    mdm_sim=Simulator("http://127.0.0.1:8444", "/d/mdm/access.json"), set_up=FirstSetUp("ciso", "https://p/setup", "C"),
)  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_cut_to_fit(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    welcome.show(CITY)
    said = capsys.readouterr().out
    for whole in (PERSON.password, PERSON.totp_secret, PERSON.department, DEVICE.bundle_password, CITY.apps[0].url):
        assert whole in said
    assert "…" not in said


def test_without_the_source_the_demo_says_so_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "EXAMPLES", tmp_path / "nowhere")
    with pytest.raises(Failure, match=r"examples|source"):
        build(Site(tmp_path / "city", "127.0.0.1", 24_443, "sekisho.localhost"), 1e9)
    assert not (tmp_path / "city").exists()


def test_the_document_survives_its_file_and_shows_no_secret_in_words(tmp_path: Path) -> None:
    document.write(CITY, tmp_path)
    assert document.read(tmp_path) == CITY
    for secret in (PERSON.password, PERSON.totp_secret, DEVICE.bundle_password):
        assert secret not in repr(CITY)
