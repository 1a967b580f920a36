"""What a client can put into a request's record, and what becomes of it: rules of the app, numbers, query values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.numbers import CARD, PERSONAL
from gateway.gate.decision_record import fault_record
from gateway.gate.limits import Limits
from gateway.gate.masking import (
    SHOWN,
    digest,
    masked_path,
    query_digest,
    query_digests,
    record_key,
    record_keys,
    value_digest,
)
from gateway.gate.request import RequestFault
from gateway.gate.target import canonical
from gateway.gate.verdict import Unknown
from gateway.state.changes import Change
from policies.compile import compile_policy
from policies.reasons import Reason
from tests.support.gate_world import APP, KEY, NOW, PEER, World, condition, head, policy, rule

MYNUMBER = "123456789018"
CREDIT = "4111111111111111"
WIDE = MYNUMBER.translate(str.maketrans("0123456789", "０１２３４５６７８９"))


def world(**changes: Any) -> World:
    made = World()
    made.put("app", APP.id, replace(APP, **changes))
    return made


def record_of(made: World, raw: bytes = b"", **changes: Any) -> dict[str, Any]:
    request = head(**changes)
    request.path = raw or request.path
    verdict = made.judge(request, Limits(settled=True))
    assert not isinstance(verdict, Unknown)
    return dict(verdict.record)


@pytest.mark.promise("P5.no-number-in-a-record")
@pytest.mark.parametrize("text", [MYNUMBER, WIDE, "1234-5678-9018", f"x{MYNUMBER}y", CREDIT])
@pytest.mark.parametrize("cookie", ["", None], ids=["forwarded", "refused"])
def test_a_number_stands_nowhere_whatever_field_brings_it(text: str, cookie: str | None) -> None:
    more: dict[str, Any] = {} if cookie == "" else {"cookie": None}
    word = CARD if text == CREDIT else PERSONAL
    for masked_paths in ((), ("/people/*",), ("/zzz/*",)):
        made = world(masked_paths=masked_paths, masked_queries=("n",))
        path, path_text, query = canonical(f"/people/{quote(text)}/x?n={quote(text)}&other=1".encode())
        record = record_of(
            made, path=path_text, raw=path, query=(query or b"").decode(), user_agent=quote(text), **more
        )
        assert record["url.path"] == f"/people/{word}/x"
        assert record["url.query"] == word
        assert record["sekisho.query_digests"] == {"n": [word]}
        assert "sekisho.path_digests" not in record
        assert word in record["user_agent.original"]
        told = orjson.dumps(record).decode()
        for left in (MYNUMBER, WIDE, quote(WIDE), "5678-9018", CREDIT):
            assert left not in told
    unknown = record_of(World(), host=f"{MYNUMBER}.example", cookie=None)
    assert unknown["url.domain"] == f"{PERSONAL}.example"
    named = fault_record(
        replace(PEER, server_name=f"{MYNUMBER}.x"), RequestFault(400, Reason.MALFORMED_REQUEST, "x"), NOW, "R"
    )
    assert named["tls.client.server_name"] == f"{PERSONAL}.x"


def test_values_under_listed_names_are_digests_and_others_are_only_in_the_whole() -> None:
    made = world(masked_queries=("number", "氏名"))
    record = record_of(made, query="number=0012&x=secret&number=%2B7&%E6%B0%8F%E5%90%8D=%E9%96%A2+%E6%89%80")
    assert record["sekisho.query_digests"] == {
        "number": [digest(KEY, b"0012"), digest(KEY, b"+7")], "氏名": [digest(KEY, "関 所".encode())],
    }  # fmt: skip
    assert "secret" not in str(record)
    assert "sekisho.query_digests" not in record_of(made, query="x=1")
    assert "sekisho.query_digests" not in record_of(made)
    assert "sekisho.query_digests" not in record_of(World(), query="number=1")


@pytest.mark.parametrize("value", [b"\xef\xbc\x91\xef\xbc\x92", b" 12 ", b"12"])
def test_a_value_is_folded_before_it_is_digested(value: bytes) -> None:
    assert value_digest(KEY, value) == digest(KEY, b"12")
    assert value_digest(KEY, b"\x82\x50") == digest(KEY, b"\x82\x50")  # an old app's charset stays as it is


def test_a_query_of_many_values_makes_a_bounded_record() -> None:
    query = b"&".join(b"n=%d" % number for number in range(1000))
    found = query_digests(KEY, query, ("n",))
    assert found == {"n": [digest(KEY, b"%d" % number) for number in range(32)]}


@given(st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text))
@settings(max_examples=100)
def test_a_masked_segment_is_found_again_by_its_value(segment: str) -> None:
    path = f"/people/{segment}/edit"
    shown = masked_path(path, ("/people/*",), KEY)
    found = value_digest(KEY, segment.encode(errors="surrogatepass"))
    word = "" if found[0] == "[" else SHOWN
    assert shown == f"/people/{word}{found}/edit"


def test_keys_of_earlier_lines_are_kept_for_looking() -> None:
    old, new = b"aa" * 32, b"bb" * 32
    assert record_keys(new + b"\n" + old + b"\n") == (record_key(new), record_key(old))
    assert record_key(new + b"\n" + old) == record_key(new) != record_key(old)
    assert query_digest(record_key(new), b"q") != query_digest(record_key(old), b"q")


def test_why_a_path_was_refused_does_not_tell_the_path() -> None:
    made = world(masked_paths=("/people/*",))
    allowed = rule(
        "all", when=(condition("app", "any_of", "docs"),), require=(condition("http.path", "under", "/open"),)
    )
    made.view.set_policy(compile_policy(policy(allowed)), Change(9))
    record = record_of(made, path="/people/00123")
    assert "00123" not in orjson.dumps(record).decode()
    assert [unmet["actual"] for unmet in record["sekisho.unmet"]] == [record["url.path"]]
