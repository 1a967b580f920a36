"""Composition root of the control process: pages for people on `control.sock`, the admin API on `admin.sock`.

Everything here may be slow or stop: workers go on without it. Both sockets are 0600; whoever can open `control.sock`
is one of the gateway's own processes, which is why the portal trusts the headers that come with a request.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from gateway.admin.protection import unread
from gateway.admin.server import build_admin_app
from gateway.alerting import Alerting
from gateway.edge.authorities import read_authority
from gateway.identity.context import ControlContext
from gateway.identity.digests import KeyedDigests
from gateway.identity.passwords import PasswordHasher
from gateway.keyfiles import SEALING
from gateway.listening import CLOSING, listen
from gateway.portal.published import published_pages
from gateway.portal.server import build_portal_app
from gateway.posture.crl_files import Wanted
from gateway.posture.crl_sync import RevocationLists
from gateway.posture.device_sync import DeviceSync
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.state.sealing import Sealing
from gateway.state.steward_client import StewardClient, StewardUnavailable
from gateway.state.store import Reader
from gateway.supervision import child

WRITER = "control"
_STEWARD_PATIENCE = 30.0  # seconds: the steward may still be starting
_log = logging.getLogger("sekisho.control")


def open_context(settings: Settings) -> ControlContext:
    """Open store, journal and keys of the installation. Raises OSError, ValueError, SealingFault."""
    sealing_key = settings.paths.keys / SEALING
    journal = Journal(
        settings.paths.journal,
        WRITER,
        segment_bytes=settings.journal.segment_bytes,
        segment_age=settings.journal.segment_age,
        stall_limit=settings.timeouts.journal_stall,
        reserve=settings.journal.reserve(Writes.CONTROL),
    )
    return ControlContext(
        settings=settings,
        reader=Reader(settings.paths.store, Sealing.load(sealing_key)),
        steward=StewardClient(settings.paths.steward_socket),
        journal=journal,
        hasher=PasswordHasher(settings.sign_in),
        digests=KeyedDigests.load(sealing_key),
        clock=time.time,
    )


async def _record_start(context: ControlContext) -> None:
    """Say that control started; without room for that it serves all the same: what needs no record works."""
    started = {"process.name": WRITER, "process.pid": os.getpid()}
    try:
        await context.journal.record(event(Action.PROCESS_STARTED, context.clock(), started))
    except JournalUnhealthy as error:
        _log.warning("%s", error)


async def run(settings: Settings, asked_to_stop: asyncio.Event) -> None:
    """Serve until asked to stop. Raises StewardUnavailable when the steward does not answer at the start."""
    context = open_context(settings)
    context.journal.open(asyncio.get_running_loop())
    runners: list[web.AppRunner] = []
    watches: list[asyncio.Task[None]] = []
    try:
        await _record_start(context)
        await _publish_pages(context)
        context, watches = _watch(context)
        for app, path in (
            (build_portal_app(context), settings.paths.control_socket),
            (build_admin_app(context), settings.paths.admin_socket),
        ):
            runners.append(await listen(app, path, unread(context, path.name)))
        child.ready()
        stopping = asyncio.create_task(asked_to_stop.wait())
        done, _ = await asyncio.wait([stopping, *watches], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a watch that ended by a fault: the process ends with it and is started anew
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        for runner in runners:
            await runner.cleanup()
        await context.steward.close()
        context.hasher.close()
        context.reader.close()
        context.journal.close(CLOSING)


def _watch(context: ControlContext) -> tuple[ControlContext, list[asyncio.Task[None]]]:
    """Start what goes on beside the pages: the sync of devices and the alerts."""
    settings, watches = context.settings, list[asyncio.Task[None]]()
    if settings.mdm is not None:
        devices = DeviceSync(settings.mdm, context.reader, context.steward, context.journal, context.clock)
        watches.append(asyncio.create_task(devices.run()))
        context = replace(context, posture=devices)
    wanted, forget_after = _wanted_lists(settings)
    lists = RevocationLists(
        wanted, context.reader, context.steward, context.journal, context.clock,
        settings.listeners.public.crl_entries if settings.listeners.public else 0,
        forget_after,
    )  # fmt: skip
    watches.append(asyncio.create_task(lists.run()))
    context = replace(context, lists=lists)
    if settings.alerts is not None and (settings.alerts.mail or settings.alerts.webhook):
        alerts = Alerting(settings, context.clock)
        watches.append(asyncio.create_task(alerts.run(context)))
        context = replace(context, alerts=alerts)
    return context, watches


def _wanted_lists(settings: Settings) -> tuple[list[Wanted], float]:
    """Return the revocation lists that the settings name, and after how many seconds others are forgotten.

    An authority that cannot be read any more (workers would not have begun with it) leaves its list as it stands: it
    runs out at its nextUpdate, and sign-in goes on meanwhile. So does one that was replaced in its file since: workers
    judge by the former one until they are replaced, and who came back without them does not know what they read.
    """
    public, found, whole = settings.listeners.public, list[Wanted](), not child.started_again()
    for each in public.client_crls if public is not None else ():
        authority, faults = read_authority(each.authority, each.when_stale == "refuse")
        if authority is not None:
            found.append(Wanted(authority, each.file))
        else:
            _log.error("no list of this authority is taken in: %s", "; ".join(faults))
            whole = False
    return found, settings.timeouts.drain if whole else float("inf")


async def _publish_pages(context: ControlContext) -> None:
    pages = published_pages(context.settings.portal)
    end = time.monotonic() + _STEWARD_PATIENCE
    while True:
        try:
            await context.steward.call("pages.put", pages=pages)
            return
        except StewardUnavailable:
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(0.05)


async def _main(settings: Settings) -> None:
    await run(settings, child.stop_event(asyncio.get_running_loop()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: `python -m gateway.control --config DIR/sekisho.toml`."""
    parser = argparse.ArgumentParser(prog="sekisho-control")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings.parse(child.settings_text(options.config), options.config)
    child.await_turn()
    asyncio.run(_main(settings))


if __name__ == "__main__":
    main()
