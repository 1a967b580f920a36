"""Defects that reading answers had, each by its name: what an app said could pass for another answer, or for none."""

from __future__ import annotations

import asyncio

import uvloop

from tests.support.edge import read_head, running
from tests.support.raw_app import tell

HEAD = b"HEAD /a HTTP/1.1\r\nHost: app.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nhalf"
STOLEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"


def test_the_late_body_of_a_head_answer_answered_the_next_client() -> None:
    """Somebody asks HEAD for a file of his own that looks like an answer, from an app that sends it all the same."""

    async def main() -> bytes:
        asked = asyncio.Event()

        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if (await read_head(reader)).startswith(b"HEAD"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(STOLEN))
                await asked.wait()
                writer.write(STOLEN)
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")

        async with running(app) as edge:
            reader, writer = await edge.connect()
            writer.write(HEAD)
            await read_head(reader)
            other, asking = await edge.connect()
            asking.write(HEAD.replace(b"HEAD /a", b"GET /b"))
            await asyncio.sleep(0.05)
            asked.set()
            async with asyncio.timeout(30):
                await read_head(other)
                got = await other.readexactly(3)
            writer.close()
            asking.close()
            return got

    assert uvloop.run(main()) == b"own"


def test_the_connection_of_an_early_answer_was_pooled() -> None:
    """The answer begins before the upload ends, and ends after it."""
    told = tell(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi", b"hi", request=POST, rest=b"12345")
    assert (told.status, told.body, told.pooled) == (b"200", b"hihi", False)


def test_bytes_behind_an_answer_left_no_record() -> None:
    """They were thrown away without a word: a sign that app and gateway disagree on where answers end."""
    told = tell(STOLEN + STOLEN)
    assert told.status == b"502"
    assert told.outcome is not None
    assert told.outcome.detail == "bytes behind the answer's end"


def test_an_answer_of_bare_line_feeds_waited_for_the_time_limit() -> None:
    """No CRLF ever came to end the head; likewise within a chunk line."""
    assert tell(STOLEN.replace(b"\r\n", b"\n")).outcome is not None
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n"
    assert tell(chunked).outcome is not None


def test_a_reason_of_control_characters_passed() -> None:
    """The reason goes no further, but a head that holds NUL or an escape is no head."""
    assert tell(STOLEN.replace(b"OK", b"\0\x1b[2J")).status == b"502"


def test_an_interim_answer_with_a_length_passed() -> None:
    """Another reader takes what follows for its body."""
    assert tell(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 45\r\n\r\n" + STOLEN).status == b"502"


def test_anything_passed_for_a_trailer() -> None:
    """A whole answer behind the last chunk was read as trailers and dropped."""
    assert tell(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + STOLEN).status == b"502"
