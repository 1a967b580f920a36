"""What runs beside the signing in the auditor's process, and the arguments that ask for it.

Each is a task with its own cursor and its own faults: sealed segments are always kept (`audit.keeping`), detection and
the embedded index come with `--state`, the copy in Elasticsearch with `--elastic-url`, the other ways out
(`audit.outlets`) and cosignatures (`--witness`) where asked for. Modules that are heavy are imported only where they
run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from audit import durable
from audit.checkpoint import read_witness_key
from audit.event import Action
from audit.keeping.keeper import Clocks, Keeper
from audit.outlets import start as outlets
from audit.retention import read_ages
from audit.witnesses import Standing, State

if TYPE_CHECKING:
    from audit.daemon import Daemon


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the tasks beside the signing."""
    parser.add_argument("--state", type=Path, help="folder for what it remembers beside the log: detection, index, …")
    parser.add_argument("--retain", action="append", default=[], metavar="CLASS=SECONDS", help="how long to keep")
    parser.add_argument("--compress-after", type=float, default=3600.0, help="age of what is compressed, s (3600)")
    parser.add_argument("--keep-every", type=float, default=30.0, help="seconds between looks at what to keep (30)")
    parser.add_argument("--elastic-url", help="Elasticsearch to ship to")
    parser.add_argument("--elastic-ca", type=Path, help="certificate authority of the cluster, PEM")
    parser.add_argument("--elastic-write-key", type=Path, help="file with the key that creates documents")
    parser.add_argument("--elastic-read-key", type=Path, help="file with the key that looks documents up")
    parser.add_argument("--elastic-namespace", default="default", help="namespace of the data streams (default)")
    outlets.add_arguments(parser)
    parser.add_argument("--witness", nargs=2, action="append", default=[], metavar=("URL", "VKEY"),
                        help="a witness to ask; may be repeated")  # fmt: skip
    parser.add_argument("--witness-ca", type=Path, help="certificate authority of the witnesses, PEM")


def start_beside(options: argparse.Namespace, daemon: Daemon, tasks: list[asyncio.Task[None]]) -> None:
    """Start what the arguments ask for; the tasks run until cancelled. Raises ValueError, OSError."""
    _start_keeping(options, daemon, tasks)
    if options.state is None:
        if options.witness:
            raise ValueError("--witness needs --state, where it is kept how the witnesses stand")
        return
    durable.make_directory(options.state)
    _start_finding(options, daemon, tasks)
    tasks += (
        asyncio.create_task(each.run()) for each in outlets.followings(options, lambda: daemon.auditor.ends, time.time)
    )
    if options.elastic_url is not None:
        _start_shipping(options, daemon, tasks)
    if options.witness:
        _start_witnessing(options, daemon, tasks)


def _start_keeping(options: argparse.Namespace, daemon: Daemon, tasks: list[asyncio.Task[None]]) -> None:
    keeper = Keeper(
        options.journal, daemon.journal, lambda: daemon.auditor.covered, read_ages(options.retain),
        options.compress_after, Clocks(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME)),
    )  # fmt: skip
    tasks.append(asyncio.create_task(keeper.run(options.keep_every)))


def _start_finding(options: argparse.Namespace, daemon: Daemon, tasks: list[asyncio.Task[None]]) -> None:
    from audit.detect.detection import Detection  # noqa: PLC0415  # only where it runs
    from audit.index.indexing import Indexing  # noqa: PLC0415  # DuckDB is heavy

    recent = daemon.auditor.recent
    detection = Detection(options.journal, options.state / "detect.json", daemon.journal, time.time, recent)
    indexing = Indexing(options.journal, options.state / "index", time.time, recent)
    tasks += (asyncio.create_task(detection.run()), asyncio.create_task(indexing.run()))
    daemon.followers += (detection.links, indexing.links)


def _start_shipping(options: argparse.Namespace, daemon: Daemon, tasks: list[asyncio.Task[None]]) -> None:
    from audit.elastic.keys import Cluster, KeyedIndex  # noqa: PLC0415  # the client is heavy
    from audit.elastic.shipping import Shipping  # noqa: PLC0415

    cluster = Cluster(
        options.elastic_url, options.elastic_ca, options.elastic_write_key, options.elastic_read_key,
        options.elastic_namespace,
    )  # fmt: skip
    folder = options.state / "elastic"
    shipping = Shipping(
        options.journal, folder, KeyedIndex(cluster), lambda: daemon.auditor.ends, time.time, daemon.auditor.recent
    )
    tasks.append(asyncio.create_task(shipping.run()))
    daemon.signed.append(shipping.checkpoint)
    if daemon.auditor.signed is not None:
        shipping.checkpoint((daemon.auditor.folder / "checkpoint").read_text())


def _start_witnessing(options: argparse.Namespace, daemon: Daemon, tasks: list[asyncio.Task[None]]) -> None:
    from audit.witness.client import Place  # noqa: PLC0415  # aiohttp is heavy
    from audit.witness.submitting import Submitting  # noqa: PLC0415

    async def changed(standing: Standing) -> None:
        if standing.state is not State.COSIGNING:
            sys.stderr.write(f"auditor: witness {standing.name}: {standing.state}: {standing.detail}\n")
            sys.stderr.flush()
        await daemon.record(Action.AUDIT_WITNESS, {
            "event.outcome": "success" if standing.state is State.COSIGNING else "failure",
            "sekisho.witness.name": standing.name, "sekisho.witness.state": standing.state.value,
            "sekisho.log.size": standing.size, "error.message": standing.detail or None,
        })  # fmt: skip

    ca = None if options.witness_ca is None else str(options.witness_ca)
    places = [Place(url, read_witness_key(key), ca) for url, key in options.witness]
    submitting = Submitting(daemon.auditor.folder, options.state, places, daemon.cosigned, changed, time.time)
    tasks.append(asyncio.create_task(submitting.run()))
    daemon.signed.append(submitting.checkpoint)
    if daemon.auditor.signed is not None:
        submitting.checkpoint((daemon.auditor.folder / "checkpoint").read_text())
