"""A client's connection where nothing is being asked: between two requests, and behind the last answer.

Whoever answered, an exchange or we ourselves, a request is done with here. Then the next one may come, for so long as
the connection may rest; or it closes, once the client has taken what was written to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gateway.edge import states
from gateway.edge.answers import always, encode
from gateway.edge.client_socket import ClientSocket
from gateway.edge.draining import LOOK, Unread
from gateway.edge.reader import HeadReader
from gateway.edge.services import Answer, EdgeServices
from gateway.edge.states import AFTER_FINISHED, Event, State, step
from gateway.edge.timeouts import NEVER
from gateway.gate.request import Peer, RequestHead

if TYPE_CHECKING:
    from gateway.edge.relay import Exchange


class RestingConnection(ClientSocket, ABC):
    """One connection of one client, as far as it is between requests."""

    __slots__ = (
        "_bodiless",
        "_pause",
        "_reader",
        "_requests",
        "_state",
        "buffer",
        "deadline",
        "exchange",
        "exhausted",
        "peer",
    )  # fmt: skip

    def __init__(self, services: EdgeServices, peer: Peer) -> None:
        super().__init__(services)
        self.peer = peer
        self._state = states.IDLE
        self.buffer = b""
        self.deadline = NEVER
        self._reader = HeadReader(services.limits, services.blocks, services.gatekeeper.path_exceptions)
        self._pause = min(services.timeouts.idle, LOOK)  # seconds until the answer before is looked after
        self.exchange: Exchange | None = None
        """The request under way."""
        self._requests = 0
        self.exhausted = False  # it has carried as many requests as it may
        self._bodiless = False

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._state

    def _move(self, event: Event) -> None:
        self._state = step(self._state, event)

    @abstractmethod
    def _advance(self) -> None:
        """Take complete heads from the buffer while it is their turn."""

    @abstractmethod
    def reset(self, farewell: bytes = b"", *, gently: bool = False) -> None:
        """Reset the connection, or close it `gently`; `farewell` goes out first if the socket takes it at once."""

    # The end of a request.

    def _answer(self, answer: Answer, head: RequestHead | None, event: Event) -> None:
        lines = always(self.peer.scheme, self._services.hsts_max_age, self._services.wall())
        bodiless = self._bodiless or (head is not None and head.method == "HEAD")
        self.write(encode(answer, lines, bodiless=bodiless, closing=event is states.CLOSING))
        self._settle(event)
        if answer.status == 503 and self._state is states.IDLE:
            self.rest()

    def _settle(self, event: Event) -> None:
        """A request is done with: go on with the next one, or end."""
        self.exchange = self.unread = None
        self.rested = self.guest = False
        if event is states.CLOSING:
            self._move(event)
            self._drain()
            return
        self._state = AFTER_FINISHED[self._state] if event is states.FINISHED else step(self._state, event)
        services = self._services
        self.deadline = services.sweeper.now + self._pause
        if self.held:
            self.hold(False)
        if self.buffer or self.eof:
            self._advance()

    def _drain(self) -> None:
        """Let the client read the answer: closing while it still sends would reset what it has not read."""
        self.buffer = b""
        services = self._services
        self.deadline = services.sweeper.now + LOOK
        if self.transport is not None:
            if self.held:
                self.hold(False)
            self.unread = Unread(self.transport, services, services.sweeper.now)
            self.unread.end(eof=self.eof)

    # Time, the end.

    def _on_rest(self, now: float) -> None:
        """Nothing is being asked: the answer before was taken, or is still, or that takes too long."""
        if self.rested:
            self._close()
        elif not self.reads(now):
            self.reset()
        elif self.unread is not None and self.unread.left:
            self.deadline = now + LOOK
        elif self._state is states.DRAINING:
            self.reset()
        else:
            self.rested, self.unread = True, None
            self._reader.rest()
            timeouts = self._services.timeouts
            # Whoever was only refused holds the place of somebody else: slow clients would look idle for so long.
            self.deadline = now + (min(timeouts.idle, timeouts.slow_grace) if self.guest else timeouts.idle) - LOOK

    def close_if_idle(self) -> None:
        """Close between two requests; one in flight ends first, and is the last."""
        self.exhausted = True
        if self._state is states.IDLE and not self.buffer:
            self._close()

    def _close(self) -> None:
        """Close behind what was written, once that is taken."""
        self.close()
        rest = self.transport is not None and self.transport.get_write_buffer_size()
        self.deadline = self._services.sweeper.now + LOOK if rest else NEVER
