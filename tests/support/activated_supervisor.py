"""The real supervisor as systemd starts it with a socket of its own making: descriptor 3, named, and nothing else.

`python -m tests.support.activated_supervisor --config …` binds a loopback port, then becomes the supervisor.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    """Bind, say it as sd_listen_fds(3) has it, go on as the supervisor."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=128)
    os.dup2(sock.fileno(), 3)
    os.set_inheritable(3, True)  # where it had this number already, dup2(2) did nothing
    os.environ |= {
        "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "loopback",
        "WATCHDOG_PID": str(os.getpid()),
        "SEKISHO_LISTENERS__LOOPBACK__ADDRESS": f"127.0.0.1:{sock.getsockname()[1]}",
    }  # fmt: skip
    os.execv(sys.executable, [sys.executable, "-m", "gateway.supervisor", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
