"""One question to one witness over HTTP, and its answer, checked with the witness's key. Nothing is remembered."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, StreamReader, TCPConnector

from audit.checkpoint import CheckpointInvalid, WitnessKey, cosigned, with_line
from audit.note import NoteInvalid, signatures_by
from audit.witness.protocol import BODY_LIMIT, PATH, Submission

_WITHIN: Final = ClientTimeout(total=10.0, connect=5.0)
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")


@dataclass(frozen=True, slots=True)
class Place:
    """A witness as the settings name it: where it is, its key, and who vouches for its certificate (None: the OS)."""

    url: str
    key: WitnessKey
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The witness signed: its line, and when (seconds since the epoch)."""

    line: str
    time: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The witness knows another size (409)."""

    size: int


@dataclass(frozen=True, slots=True)
class Declined:
    """The witness will not sign: its status, and what it said. Status 200: its signature is false or missing."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer came."""

    text: str


Answer = Cosigned | Conflict | Declined | Unreachable


def session(place: Place) -> ClientSession:
    """Return a session that keeps its connection to the witness. Raises OSError where the CA cannot be read."""
    context = ssl.create_default_context(cafile=place.ca)
    return ClientSession(connector=TCPConnector(ssl=context, limit=1), timeout=_WITHIN)


async def ask(http: ClientSession, place: Place, submission: Submission) -> Answer:
    """Submit a checkpoint; returns whatever comes of it, and raises nothing."""
    url = place.url.rstrip("/") + PATH
    try:
        async with http.post(url, data=submission.encode(), allow_redirects=False) as response:
            status, body = response.status, await _read(response.content)
    except (ClientError, TimeoutError, OSError) as error:
        return Unreachable(f"{type(error).__name__}: {error}")
    if status == 200:
        return _checked(submission.note, body, place.key)
    size = _SIZE.fullmatch(body)
    if status == 409 and size is not None:
        return Conflict(int(size[1]))
    return Declined(status, body.decode(errors="replace").strip()[:300])


async def _read(content: StreamReader) -> bytes:
    """Return at most `BODY_LIMIT` bytes: a witness is a stranger."""
    pieces = bytearray()
    async for piece in content.iter_any():
        pieces += piece
        if len(pieces) > BODY_LIMIT:
            raise ClientError("the answer is too long")
    return bytes(pieces)


def _checked(note: str, body: bytes, key: WitnessKey) -> Answer:
    """Return the witness's own line if it is true; lines of other keys are ignored (tlog-witness)."""
    try:
        for line in body.decode().split("\n")[:-1]:
            if any(signatures_by(line, key.name, key.key_hash)):
                return Cosigned(line + "\n", cosigned(with_line(note, line + "\n"), key))
    except (UnicodeDecodeError, CheckpointInvalid, NoteInvalid) as error:
        return Declined(200, str(error))
    return Declined(200, f"no cosignature by {key.name}+{key.key_hash.hex()}")
