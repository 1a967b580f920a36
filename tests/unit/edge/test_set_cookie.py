"""What an app may set in a browser: its own host's cookies, never ours, never a sibling's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.response import public_cookie

HOST = "app.city.example"


@pytest.mark.parametrize(
    "value",
    [
        b"__Host-sekisho-app=x; Path=/; Secure",
        b"__Host-sekisho=x",
        b" __HOST-Sekisho-person=x",
        b"__Host-sekisho",
        b"=__Host-sekisho-app=x; Path=/",
        b" = __host-sekisho-app=x",
        b"==__Host-sekisho=x",
        b"",
        b"=",
        b"; Path=/",
        b"a=b; Domain=city.example",
        b"a=b; domain=.city.example",
        b"a=b; Domain=app.city.example; DOMAIN=city.example",
        b"a=b; Domain=other.city.example",
    ],
)
def test_cookies_that_reach_beyond_the_app_are_refused(value: bytes) -> None:
    assert public_cookie(value, HOST) == b""


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (b"JSESSIONID=1; Path=/", b"JSESSIONID=1; Path=/; Secure"),
        (b"a=b; secure", b"a=b; secure"),
        (b"a=b; Domain=APP.city.example", b"a=b; Domain=APP.city.example; Secure"),
        (b"a=b; Domain=", b"a=b; Domain=; Secure"),
        (b"=x", b"=x; Secure"),
        (b"my__Host-sekisho=1", b"my__Host-sekisho=1; Secure"),
    ],
)
def test_an_apps_own_cookies_pass_with_secure(value: bytes, passed: bytes) -> None:
    assert public_cookie(value, HOST) == passed


@given(st.binary(max_size=60).filter(lambda noise: b"\r" not in noise and b"\n" not in noise))
def test_nothing_that_passes_is_sent_back_as_one_of_ours(noise: bytes) -> None:
    passed = public_cookie(noise, HOST)
    name, equals, content = passed.partition(b";")[0].partition(b"=")
    sent = content if equals and not name.strip(b" \t") else passed.partition(b";")[0]
    assert not sent.strip(b" \t").lower().startswith(b"__host-sekisho")
