"""What the deadline of an exchange is about: it decides who is at fault when the time is up."""

from __future__ import annotations

from enum import IntEnum


class Waiting(IntEnum):
    """Whom an exchange waits for."""

    NOTHING = 0
    CONNECTION = 1
    CLIENT_BODY = 2
    FIRST_BYTE = 3
    NEXT_BYTES = 4
    CLIENT_READS = 5
    IN_TUNNEL = 6  # or in a stream of events: what lasts as long as somebody's page is open
    OTHER_END = 7  # one end of a tunnel sends no more


# As in `states`: reaching a member through its class is slow on the request path.
NOTHING, CONNECTION, CLIENT_BODY, FIRST_BYTE, NEXT_BYTES, CLIENT_READS, IN_TUNNEL, OTHER_END = Waiting
