"""A new app is proposed by one person and opened by another: the tour's recording upstream, as 庁内Wiki."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from cli.city.applications import origin
from cli.tour.stage import Shown, Stage, require

APP = "wiki"
_NOT_ALLOWED = 5


def recorded_file(stage: Stage) -> Path:
    """Where the recording upstream keeps its list."""
    return stage.folder / "reached-the-app.txt"


def url(stage: Stage) -> str:
    """The app's public address."""
    return origin(APP, stage.city.domain, int(stage.city.address.rpartition(":")[2])) + "/"


async def by_two_people(stage: Stage) -> Shown:
    """Nakamura proposes the app, may not grant it himself, and yamamoto grants it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cli.tour.recorder", str(port), str(recorded_file(stage))]
    stage.processes.start("recorder", command)
    form = stage.folder / "wiki.yaml"
    form.write_text(
        f"id: {APP}\ntitle: 庁内Wiki\nowner: nakamura\nhosts: [{APP}.{stage.city.domain}]\n"
        f"upstream: http://127.0.0.1:{port}\nsensitivity: '1'\nbusiness: 庁内の知識\ndurability: written\n",
        encoding="utf-8",
    )
    for who in ("nakamura", "yamamoto"):
        await stage.log_in(who)
    await stage.command("nakamura", "apps", "apply", "-f", str(form), "--reason", "記録する上流", "--yes")
    waiting = [row for row in await stage.ask("yamamoto", "approvals", "ls") if row["subject"] == APP]
    require(len(waiting) == 1, "the proposal is not listed")
    grant = ("approvals", "grant", waiting[0]["id"], "--reason", "確認済み", "--yes")
    await stage.command("nakamura", *grant, expect=_NOT_ALLOWED)
    await stage.command("yamamoto", *grant)
    state = (await stage.ask("nakamura", "apps", "show", APP))["state"]
    require(state == "active", f"the app is {state}")
    return Shown("アプリの登録は申請者だけでは有効にならず、別の人の承認で有効", "2 人")
