"""A stream of records that the server did not finish is never taken for a whole one."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from cli.client import AdminClient
from cli.exit_codes import ExitCode
from cli.failure import Failure

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RECORD = b'd\r\n{"event": 1}\n\r\n'


def streamed(path: Path, answer: bytes, *, endless: bool) -> list[dict[str, object]]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"}"):  # head and body may come apart
                    asked += connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return list(AdminClient(path, None).stream("/v1/events/search", {}, endless=endless))
        finally:
            thread.join()


def test_a_finished_answer_is_whole(tmp_path: Path) -> None:
    assert streamed(tmp_path / "s", HEAD + RECORD + b"0\r\n\r\n", endless=False) == [{"event": 1}]


@pytest.mark.parametrize(("end", "endless"), [(b"", False), (b"", True), (b"0\r\n\r\n", True)])
def test_a_server_that_stops_is_told_with_its_status(end: bytes, endless: bool, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        streamed(tmp_path / "s", HEAD + RECORD + end, endless=endless)
    assert failed.value.code is ExitCode.UNREACHABLE
