"""An app that is down: what its people read, what is recorded, what operators see."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from audit.event import check
from cli.render.upstreams import server_lines, server_troubles, shown_servers
from gateway.admin.upstream_states import of_workers
from gateway.edge.address import Upstream
from gateway.edge.pool import HealthChange, Pool
from gateway.edge.services import EdgeTimeouts
from gateway.edge.timeouts import Sweeper
from gateway.gate.reference import new_reference
from gateway.gate.retry_after import retry_after
from gateway.state.changes import Change
from gateway.upstream_health import health_record
from policies.compile import compile_policy
from policies.reasons import Reason
from tests.support.gate_world import APP, HOST, TOKEN, condition, policy, rule
from tests.support.real_gate import real_gate

COUNTS = {"load": 1, "opened": 2, "reused": 3, "failed": 4, "waited": 5, "refused": 6, "stopped": 7, "opens": 8}


@pytest.mark.promise("P1.dead-app-is-told-at-once")
def test_people_are_told_at_once_that_the_app_is_down_and_whom_to_ask(tmp_path: Path) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with real_gate(tmp_path, lambda *_: asyncio.sleep(0)) as gate:
            app = gate.world.view.apps[APP.id]
            gate.world.put("app", APP.id, replace(app, upstream=f"http://127.0.0.1:{port}"))
            open_to_all = rule("open", when=(condition("app", "any_of", APP.id),))
            gate.world.view.set_policy(compile_policy(policy(open_to_all)), Change(2))
            request = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-sekisho-app={TOKEN}\r\n"
            request += "Accept: text/html\r\nConnection: close\r\n\r\n"
            answers = [await gate.ask(request.encode()) for _ in range(4)]
            assert [answer[9:12] for answer in answers] == [b"502", b"502", b"502", b"503"]
            waits = {retry_after(1.0, new_reference(0.0)) for _ in range(100)}  # left alone for a second at first
            assert int(answers[3].partition(b"\r\nRetry-After: ")[2].split(b"\r\n")[0]) in waits == {1, 2}
            assert all("内線 1234" in answer.decode() for answer in answers)  # of the app, not of the installation
            assert gate.pools.counted()[APP.id][0]["stopped"] == 1

    uvloop.run(main())


def change(reason: Reason | None) -> HealthChange:
    """A change of one server."""
    pool = Pool(Upstream.parse("http://10.0.0.5:8080"), EdgeTimeouts(), Sweeper(lambda: 0.0))
    return HealthChange(pool, reason, 3, 1.5)


def test_changes_are_records() -> None:
    failed = health_record("docs", change(Reason.APP_TIMED_OUT), "worker-1", 0.0)
    assert check(failed) == []
    assert failed == {
        **failed, "event.action": "upstream.failed", "event.dataset": "sekisho.health", "event.outcome": "failure",
        "sekisho.app.id": "docs", "sekisho.upstream.address": "http://10.0.0.5:8080", "sekisho.worker": "worker-1",
        "sekisho.reason": "app_timed_out", "sekisho.count": 3, "event.duration": 1_500_000_000,
    }  # fmt: skip
    recovered = health_record("docs", change(None), "worker-1", 0.0)
    assert check(recovered) == []
    assert (recovered["event.action"], "sekisho.reason" in recovered) == ("upstream.recovered", False)


def worker(opened: bool, *addresses: str, connected: bool = True) -> dict[str, Any]:
    """What the steward tells of one worker."""
    rows = [{"address": address, "open": opened, **COUNTS} for address in addresses]
    return {"connected": connected, "counters": {"upstreams": {"docs": rows}}}


def test_the_workers_views_of_a_server_are_put_together() -> None:
    gone = worker(True, "http://c", connected=False)
    silent = {"connected": True, "counters": {}}
    found = of_workers([worker(True, "http://a", "http://b"), worker(False, "http://b"), gone, silent])
    first, both = found["docs"]
    assert first == {"address": "http://a", "workers": 1, "left_alone": 1, **COUNTS}
    doubled = {name: 2 * count for name, count in COUNTS.items()}
    assert both == {"address": "http://b", "workers": 2, "left_alone": 1, **doubled}


def test_operators_read_which_server_does_not_answer() -> None:
    found = of_workers([worker(True, "http://a"), worker(False, "http://b")])
    assert shown_servers(found["docs"]) == "1/2 (応答なし: http://a)"
    assert shown_servers(found["docs"][1:]) == "1/1 正常"
    assert (shown_servers([]), shown_servers(None)) == ("まだ使われていない", "不明")
    (said,) = server_troubles(found)
    assert said.startswith("アプリ docs のサーバー: 1/2 (応答なし: http://a)。")
    assert server_troubles({"docs": found["docs"][1:]}) == []
    first, second = server_lines(found["docs"]).splitlines()
    assert first.startswith("http://a: 応答なし (ワーカー 1/1)。処理中 1、")
    assert second.startswith("http://b: 正常。")
