"""A port that a test was given is nobody else's, and the program that it is for can have it, again and again."""

from __future__ import annotations

import socket

import pytest

from tests.support.ports import free_port


def test_a_port_is_for_the_program_it_was_taken_for() -> None:
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 20)
    for _ in range(2):  # and once more after it ended
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", port), 20) as client,
        ):
            accepted, _ = server.accept()
            accepted.close()  # its end waits in the kernel for a minute (TIME_WAIT)
            assert client.recv(1) == b""
        with socket.create_server(("::1", port), family=socket.AF_INET6):
            pass


def test_bug_a_port_that_was_let_go_went_to_a_client_of_somebody_else() -> None:
    port = free_port()
    with socket.socket() as client, pytest.raises(OSError, match="in use"):
        client.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))  # as the supervisor's workers do, each with a queue of its own
        server.listen()
