"""Which of an app's upstreams a request goes to, as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.choice import by_session, least_loaded


@dataclass(frozen=True)
class Server:
    """An upstream with a load."""

    address: str
    load: int = 0


FOUR = tuple(Server(f"http://10.0.0.{number}:8080") for number in range(1, 5))


@pytest.mark.parametrize(
    ("loads", "turn", "chosen"),
    [((3, 1, 2), 0, 1), ((3, 1, 2), 7, 1), ((0, 0, 0), 0, 0), ((0, 0, 0), 1, 1), ((0, 0, 0), 5, 2), ((1, 0, 0), 0, 1),
     ((1, 0, 0), 2, 2), ((5,), 3, 0)],
)  # fmt: skip
def test_the_least_loaded_is_chosen_and_ties_go_round(loads: tuple[int, ...], turn: int, chosen: int) -> None:
    servers = [Server(str(place), load) for place, load in enumerate(loads)]
    assert least_loaded(servers, turn) is servers[chosen]


@given(st.text(min_size=1, max_size=40), st.permutations(FOUR))
def test_a_session_keeps_its_server_whatever_the_order_and_whoever_else_leaves(
    session: str, order: list[Server]
) -> None:
    home = by_session(FOUR, session)
    assert by_session(order, session) is home
    for gone in FOUR:
        left = [server for server in order if server is not gone]
        assert (by_session(left, session) is home) is (gone is not home)


def test_sessions_are_spread_over_all_servers() -> None:
    homes = Counter(by_session(FOUR, f"session-{number}").address for number in range(4000))
    assert len(homes) == 4
    assert all(800 < count < 1200 for count in homes.values()), homes
