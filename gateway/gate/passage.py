"""What was just judged, for the next request of the same page: one page asks for twenty things within a second.

A passage stands for everything that `judge` found in order for one app session: in one state of the view, from one
place, within one second. What is left to ask of a further request is what it brings itself. A passage never refuses:
where it does not plainly allow, the whole judgement is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.gate.cross_site import SAFE_METHODS
from gateway.gate.route import OWN_PATH, is_own
from policies.decision import Decision

if TYPE_CHECKING:
    from gateway.gate.instant import Instant
    from gateway.gate.request import Moment, Peer, RequestHead
    from gateway.gate.standing import Standing
    from gateway.state.view import View
    from policies.compile import CompiledPolicy

# A preflight is no request of the person's; one that may change something is looked at for where it comes from.
_READING: Final = SAFE_METHODS - {"OPTIONS"}


class Passage:
    """Made where `judge` allowed a request; its `instant` is that of the judgement."""

    __slots__ = ("_generation", "_host", "_methods", "_peers", "_since", "_until", "decides", "instant")

    def __init__(self, view: View, standing: Standing, instant: Instant, policy: CompiledPolicy, peer: Peer) -> None:
        """`peer` is the connection from which the request was allowed."""
        self.instant = instant
        self.decides = policy.narrow(instant.fresh)
        """The decision on every further request, or what makes it of the request's own facts."""
        self._generation = view.generation
        self._since, self._until = instant.wall, min(standing.until, instant.wall + 1)
        self._host = standing.app_session.host
        self._methods = _READING.intersection(standing.app.methods)
        self._peers: dict[int, Peer] = {
            id(peer): peer
        }  # by identity; kept here, so that none of these is another's later

    def admit(self, view: View, instant: Instant, peer: Peer) -> bool:
        """Note a further connection from which one was allowed at `instant`; False = this passage is of another."""
        if self.instant is not instant or self._generation != view.generation:
            return False
        self._peers[id(peer)] = peer
        return True

    def covers(self, view: View, request: RequestHead, moment: Moment) -> bool:
        """Whether all but method and path is as it was, and the request is one that only reads."""
        path = request.path
        return (
            self._generation == view.generation
            and self._since <= moment.wall < self._until
            and id(request.peer) in self._peers
            and request.host == self._host
            and request.method in self._methods
            and not request.upgrade
            and not (path.startswith(OWN_PATH) and is_own(path))
        )

    def decide(self, request: RequestHead) -> Decision:
        """Ask the policy about the request's own facts, where it has anything to say on them."""
        decides = self.decides
        if type(decides) is Decision:  # a call less than isinstance
            return decides
        return decides({"http.method": request.method, "http.path": request.path_text})
