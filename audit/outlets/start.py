"""What the auditor knows of outlets: which arguments ask for one, and the tasks that serve them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from audit.outlets.follow import Following, Outlet
from audit.outlets.ndjson import NdjsonFile
from audit.outlets.syslog import PORT, Receiver, SyslogTls
from audit.segment import Link

FOLDER: Final = "outlets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what asks for an outlet."""
    parser.add_argument("--ndjson", type=Path, help="file of JSON lines to write")
    parser.add_argument("--ndjson-bytes", type=int, default=100_000_000, help="size at which a new file is begun")
    parser.add_argument("--ndjson-kept", type=int, default=5, help="older files beside it")
    parser.add_argument("--syslog-host", help="syslog receiver (RFC 5425)")
    parser.add_argument("--syslog-port", type=int, default=PORT, help=f"its port ({PORT})")
    parser.add_argument("--syslog-ca", type=Path, help="certificate authority of the receiver, PEM; must be given")
    parser.add_argument("--syslog-name", default="", help="name in its certificate, if not the host")
    parser.add_argument("--syslog-certificate", type=Path, help="our own certificate, PEM")
    parser.add_argument("--syslog-key", type=Path, help="its key")


def followings(
    options: argparse.Namespace, ends: Callable[[], Mapping[str, Link]], clock: Callable[[], float]
) -> list[Following]:
    """Return a task for each outlet that the arguments ask for; raises ValueError, OSError."""
    outlets: list[Outlet] = []
    if options.ndjson is not None:
        outlets.append(NdjsonFile(options.ndjson, options.ndjson_bytes, options.ndjson_kept))
    if options.syslog_host:
        if options.syslog_ca is None:
            raise ValueError("--syslog-ca: got none, expected the file of the receiver's certificate authority")
        receiver = Receiver(
            options.syslog_host, options.syslog_port, options.syslog_ca, options.syslog_name,
            options.syslog_certificate, options.syslog_key,
        )  # fmt: skip
        outlets.append(SyslogTls(receiver))
    return [Following(options.journal, options.state / FOLDER, outlet, ends, clock) for outlet in outlets]
