"""How the servers of the apps stand, in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.language import t

Servers = Sequence[Mapping[str, Any]]


def shown_servers(servers: Servers | None) -> str:
    """Return one app's servers in one cell: how many answer, and which ones do not."""
    if servers is None:
        return t("不明", "unknown")
    if not servers:
        return t("まだ使われていない", "not used yet")
    away = [str(server["address"]) for server in servers if server["left_alone"]]
    answering = f"{len(servers) - len(away)}/{len(servers)}"
    if not away:
        return t(f"{answering} 正常", f"{answering} well")
    return t(f"{answering} (応答なし: {', '.join(away)})", f"{answering} (not answering: {', '.join(away)})")


def server_lines(servers: Servers | None) -> str:
    """Return one app's servers with what was counted since the workers started."""
    if not servers:
        return shown_servers(servers)
    return "\n".join(_line(server) for server in servers)


def server_troubles(apps: Mapping[str, Servers]) -> list[str]:
    """Return a sentence for each app of which a server is left alone."""
    found = []
    for app, servers in apps.items():
        if any(server["left_alone"] for server in servers):
            shown = shown_servers(servers)
            found.append(
                t(f"アプリ {app} のサーバー: {shown}。アプリの担当者に確認してください。",
                  f"servers of {app}: {shown}; ask the app's owner.")
            )  # fmt: skip
    return found


def _line(server: Mapping[str, Any]) -> str:
    state = t("正常", "well")
    if server["left_alone"]:
        by = f"{server['left_alone']}/{server['workers']}"
        state = t(f"応答なし (ワーカー {by})", f"not answering (workers {by})")
    names = (
        ("load", "処理中", "in flight"), ("opened", "接続", "opened"), ("reused", "再利用", "reused"),
        ("failed", "接続失敗", "failed"), ("waited", "待ち", "waited"), ("refused", "混雑で拒否", "refused"),
        ("stopped", "停止中に拒否", "stopped"), ("opens", "停止", "left alone"),
    )  # fmt: skip
    counts = t("、", ", ").join(f"{t(ja, en)} {server[key]}" for key, ja, en in names)
    return t(f"{server['address']}: {state}。{counts}", f"{server['address']}: {state}; {counts}")
