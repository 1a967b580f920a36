"""Texts, languages, return addresses, flows: what the portal is made from, without a request."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.portal import flows
from gateway.portal.destinations import same_host_path
from gateway.portal.language import LANGUAGES, preferred, reason_texts, texts
from gateway.portal.published import published_pages
from gateway.settings import Portal
from policies.reasons import Reason

PORTAL = Portal(host="portal.city.example.jp", rp_id="city.example.jp", organisation="見本市", help_contact="内線 1")


@pytest.mark.promise("P7.every-reason-explained")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_words(language: str) -> None:
    told = reason_texts(language)
    assert set(told) == {reason.value for reason in Reason}
    for code, words in told.items():
        assert words["title"], code
        assert words["what"], code
        assert set(words) == {"title", "what", "do"}


def test_both_languages_say_the_same_things() -> None:
    assert set(texts("ja")) == set(texts("en"))


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("", None), ("en-US,en;q=0.9,ja;q=0.8", "en"), ("ja,en;q=0.9", "ja"), ("fr,en;q=0.1", "en"),
     ("en;q=x,ja;q=0.1", "ja"),
     ("de", None), ("en;q=0", None)],
)  # fmt: skip
def test_language_by_the_browsers_wish(accepted: str, language: str | None) -> None:
    assert preferred(accepted) == language


@pytest.mark.parametrize("path", ["/", "/a/b?c=%20d", "/%E3%81%82", "/x?next=https://evil.example/"])
def test_paths_of_the_host_are_kept(path: str) -> None:
    assert same_host_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "//evil.example", "https://evil.example/", "/\\evil", "/a b", "/a\r\nSet-Cookie: x",
     "/.sekisho/callback?code=1",
     "javascript:alert(1)", "/あ", "/" + "a" * 9000],
)  # fmt: skip
def test_other_addresses_lead_to_the_front(path: str) -> None:
    assert same_host_path(path) == "/"


@given(st.text(max_size=200))
def test_a_return_path_never_leaves_its_host(typed: str) -> None:
    path = same_host_path(typed)
    assert path.startswith("/")
    assert not path.startswith("//")
    assert "\\" not in path
    assert path.isprintable()


def test_refusal_frames_carry_their_style_and_slots() -> None:
    pages = published_pages(PORTAL)
    for language in LANGUAGES:
        frame = pages[f"refusal.{language}"]
        for slot in ("TITLE", "WHAT", "DO", "REFERENCE", "CONTACT", "ACTIONS", "DETAILS", "MESSAGE", "LANGUAGE"):
            assert f"%%{slot}%%" in frame
        assert "<script" not in frame
        assert "http://" not in frame.replace("http://www.w3.org/2000/svg", "")
    assert "'unsafe" not in pages["refusal.csp"]


def test_flows_change_their_token_and_end() -> None:
    kept = flows.Flows(capacity=2)
    token, flow = kept.start(0.0)
    flow.first = cast("Any", object())
    renewed = kept.renew(flow, 1.0)
    assert kept.find(token, 1.0) is None
    assert kept.find(renewed, 1.0) is flow
    for _ in range(5):
        kept.start(1.0)
    assert kept.find(renewed, 1.0) is flow  # a flood of visitors pushes nobody out who is halfway
    assert kept.find(renewed, 1.0 + flows.LIFETIME) is None
    assert kept.find("あ", 1.0) is None
