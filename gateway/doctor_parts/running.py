"""What the processes say of themselves: which run, whether their journals are well, whether the time is believed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.settings import Settings
from gateway.state import schema
from gateway.state.migration import version_of
from gateway.state.steward_client import CommandRefused, StewardClient, StewardUnavailable
from gateway.supervisor import STATUS

_PATIENCE = 3.0  # seconds for the steward's answer


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield how store, processes, steward and journals stand; a gateway that is stopped is a note."""
    yield store(settings.paths.store)
    status = settings.paths.run / STATUS
    try:
        said: dict[str, Any] = json.loads(status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield note(
            "running.processes", Told("動いていません", "not running"),
            Told("systemctl start sekisho(または sekisho serve)", "systemctl start sekisho, or sekisho serve"),
        )  # fmt: skip
    else:
        yield processes(said)
        yield from asyncio.run(_steward(settings.paths.steward_socket))
    yield torn(settings.paths.journal)


def store(path: Path) -> Finding:
    """The store's shape is the one that this program expects."""
    check = "running.store"
    try:
        found = version_of(path)
    except (sqlite3.Error, OSError) as error:
        return fault(
            check, Told(f"{path} を開けません: {error}", f"{path} cannot be opened: {error}"),
            Told("控えから戻す", "restore it from a backup"),
        )  # fmt: skip
    if found != schema.HEAD:
        return fault(
            check, Told(f"保存形式 {found}。この版は {schema.HEAD}", f"schema {found}, this version has {schema.HEAD}"),
            Told("sekisho state upgrade(停止中に)", "sekisho state upgrade, stopped"),
        )  # fmt: skip
    return good(check, f"保存形式 {found}", f"schema {found}")


def processes(said: dict[str, Any]) -> Finding:
    """Every process is ready; one that was started again is worth a look."""
    check, look = "running.processes", Told("sekisho status とログを見る", "see sekisho status and the log")
    away = [each["name"] for each in said["processes"] if not each["ready"]]
    again = [f"{each['name']} ({each['restarts']})" for each in said["processes"] if each["restarts"]]
    if away:
        return fault(check, Told("準備ができていない: " + ", ".join(away), "not ready: " + ", ".join(away)), look)
    if again:
        return note(check, Told("起動し直した: " + ", ".join(again), "started again: " + ", ".join(again)), look)
    count = len(said["processes"])
    return good(check, f"プロセス {count} 個が動いています", f"{count} processes are ready")


async def _steward(path: Path) -> list[Finding]:
    client = StewardClient(path, _PATIENCE)
    try:
        return list(steward(await client.call("status")))
    except (StewardUnavailable, CommandRefused) as error:
        return [
            fault(
                "running.steward", Told(f"管理役が答えません: {error}", f"the steward does not answer: {error}"),
                Told("sekisho status とログを見る", "see sekisho status and the log"),
            )
        ]  # fmt: skip
    finally:
        await client.close()


def steward(status: dict[str, Any]) -> Iterator[Finding]:
    """Yield whether its journal keeps records, and whether the time is believed."""
    journal, clock = status["journal"], status["clock"]
    if journal["healthy"]:
        yield good("running.journal", "記録できています", "records are kept")
    else:
        yield fault(
            "running.journal", Told(f"記録できません: {journal['fault']}", f"records are not kept: {journal['fault']}"),
            Told("ディスクを直す。直れば自分で再開します", "mend the disk; it goes on by itself"),
        )  # fmt: skip
    if clock["jumped"]:
        leap = round(clock["leap"])
        yield fault(
            "running.clock",
            Told(f"時計が {leap} 秒進み、要求を止めています", f"the clock leapt {leap} s; requests are refused"),
            Told("時刻が正しければ sekisho clock accept", "if the time is right: sekisho clock accept"),
        )


def torn(journals: Path) -> Finding:
    """A torn tail is what a crash cut: set aside, never silently dropped."""
    found = sorted(each.name for each in journals.glob("*/*.torn*"))
    if found:
        return note(
            "running.torn",
            Told(f"途中で切れた記録が {len(found)} 件、別に置かれています", f"{len(found)} torn tails were set aside"),
            Told("sekisho audit verify で確かめ、停電などの記録と照らす", "sekisho audit verify; compare with outages"),
        )
    return good("running.torn", "途中で切れた記録はありません", "no torn tails")
