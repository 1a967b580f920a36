"""Our own cookies in a request: exactly one, under exactly its name, whatever sibling hosts set beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.credentials import app_token, portal_token, state_token
from gateway.gate.headers import cookies_for_app

MINE = b"m" * 43
THEIRS = b"t" * 43
APP = b"__Host-sekisho-app="


@pytest.mark.parametrize(
    "cookies",
    [
        APP + MINE,
        b"a=b; " + APP + MINE,
        APP + MINE + b"; a=b",
        b"a=b;" + APP + MINE + b";c=d",
        b"a=" + APP + b"; " + APP + MINE + b" ; c=d",
        b"__ Host-sekisho-app=" + THEIRS + b"; " + APP + MINE,
    ],
)
def test_token_is_found_beside_other_cookies(cookies: bytes) -> None:
    assert app_token(cookies) == MINE


@pytest.mark.parametrize(
    "cookies",
    [
        None,
        b"",
        b"a=b",
        APP + MINE + b"; " + APP + THEIRS,
        APP + MINE + b"x",
        APP + MINE[1:],
        b"x" + APP + MINE,
        b"__host-sekisho-app=" + MINE,
    ],
)
def test_no_token_where_there_is_not_exactly_one(cookies: bytes | None) -> None:
    assert app_token(cookies) is None


@pytest.mark.parametrize("spelling", [b"__ Host-sekisho-app=", b"_ _Host-sekisho-app=", b" _\t_Host-sekisho-app="])
def test_sibling_host_cannot_plant_a_token_under_a_name_with_blanks(spelling: bytes) -> None:
    """A browser lets any page of the domain set such a name: it does not begin with the guarded prefix."""
    planted = b"decoy=" + APP + b"; " + spelling + THEIRS
    assert app_token(planted) is None
    assert portal_token(planted.replace(b"-app", b"")) is None
    assert state_token(planted.replace(b"-app", b"-state")) is None


@given(st.binary(max_size=120))
def test_any_bytes_give_a_token_only_for_a_pair_of_exactly_our_name(noise: bytes) -> None:
    token = app_token(b"a=" + APP + b";" + noise + THEIRS)
    pairs = [pair.strip(b" \t") for pair in (noise + THEIRS).split(b";")]
    assert token is None or APP + token in pairs


@given(st.lists(st.sampled_from([APP + MINE, b"__HOST-Sekisho=" + MINE, b"JSESSIONID=1", b" x=y", b""]), max_size=6))
def test_no_app_ever_sees_one_of_our_cookies(pairs: list[bytes]) -> None:
    seen = cookies_for_app(b";".join(pairs))
    assert b"sekisho" not in seen.lower()
    assert seen.count(b"JSESSIONID=1") == pairs.count(b"JSESSIONID=1")
