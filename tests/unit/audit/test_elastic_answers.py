"""What every answer of a cluster, or of somebody before it, means: carried out, surely not, or to be looked up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from audit.documents import Document
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.index import IndexFault, IndexUnavailable
from audit.elastic.keys import forbidden

DOCUMENTS = (Document("a", "access", {"@timestamp": "2026-01-01T00:00:00Z"}), Document("b", "access", {}))
PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
TYPED = {"error": {"type": "illegal_argument_exception", "reason": "x"}, "status": 400}


async def asked(what: str, *answers: web.Response) -> Any:
    """Ask a server that gives these answers, one a request."""
    waiting = list(answers)
    seen: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request.method)
        return waiting.pop(0)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with ElasticIndex(ElasticAccess(f"http://127.0.0.1:{port}", None, "w", "r"), timeout=5) as index:
            result = await (index.create(DOCUMENTS) if what == "create" else index.stored(DOCUMENTS))
            return result, seen
    finally:
        await runner.cleanup()


def answer(status: int, body: Any = None, **headers: str) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) and body.startswith("<") else "application/json"
    return web.Response(status=status, text=text, content_type=kind, headers=PRODUCT | headers)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (answer(429, TYPED), "throttled"),
        (answer(413, ""), "too_large"),
        (answer(400, TYPED), "bad_batch"),
        (answer(400, "<html>The plain HTTP request was sent to HTTPS port</html>"), "refused"),
        (answer(404, "<html>not found</html>"), "refused"),
        (answer(405, {"error": "Incorrect HTTP method"}), "refused"),
        (answer(401, TYPED), "refused"),
        (answer(403, TYPED), "refused"),
        (answer(500, TYPED), "uncertain"),
        (answer(502, "<html>bad gateway</html>"), "uncertain"),
        (answer(503, TYPED), "uncertain"),
        (answer(200, "<html>sign in</html>"), "uncertain"),
        (answer(200, '{"items": [{"create": {"sta'), "uncertain"),
        (answer(200, [1]), "uncertain"),
        (answer(307, "", Location="/elsewhere"), "uncertain"),
        (answer(302, "", Location="http://127.0.0.1:9/elsewhere"), "uncertain"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_whole_answer_says_what_has_to_be_done(given: web.Response, fault: str) -> None:
    with pytest.raises(IndexUnavailable) as caught:
        asyncio.run(asked("create", given))
    assert caught.value.fault is IndexFault(fault)
    assert len(caught.value.detail) <= 300


def test_the_server_says_how_long_to_wait_within_reason() -> None:
    for given, expected in (("7", 7.0), ("86400", 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)):
        with pytest.raises(IndexUnavailable) as caught:
            asyncio.run(asked("create", answer(429, TYPED, **{"Retry-After": given})))
        assert caught.value.retry_after == expected


def test_a_bulk_request_is_no_method_that_http_clients_repeat() -> None:
    _, seen = asyncio.run(asked("create", answer(200, {"items": [{"create": {"status": 201}}] * 2})))
    assert seen == ["POST"]


STREAM = {"data_streams": [{"indices": [{"index_name": "one"}, {"index_name": "two"}]}]}
ABSENT = {"error": {"type": "index_not_found_exception", "reason": "x"}}
AWAY = {"_id": "a", "error": {"type": "no_shard_available_action_exception", "reason": "x"}}


def rows(*found: bool) -> dict[str, Any]:
    return {"docs": [{"_id": name, "found": there} for name, there in zip("ab", found, strict=False)]}


def test_ids_are_looked_up_in_every_backing_index() -> None:
    answers = answer(200, STREAM), answer(200, rows(True, False)), answer(200, rows(False, False))
    assert asyncio.run(asked("stored", *answers))[0] == {"a"}
    assert asyncio.run(asked("stored", answer(404, ABSENT)))[0] == frozenset()


@pytest.mark.parametrize(
    "answers",
    [
        (answer(404, "<html>not found</html>"),),
        (answer(200, STREAM), answer(200, rows(True))),
        (answer(200, STREAM), answer(200, {"docs": [AWAY, rows(True)["docs"][0]]})),
        (answer(200, STREAM), answer(200, "<html>sign in</html>")),
    ],
    ids=["a proxy's 404", "another question's answer", "a shard that is away", "a page"],
)
def test_what_cannot_be_looked_up_does_not_count_as_missing(answers: tuple[web.Response, ...]) -> None:
    with pytest.raises(IndexUnavailable):
        asyncio.run(asked("stored", *answers))


def test_a_key_that_may_not_is_known_by_its_items() -> None:
    item = {"create": {"status": 403, "error": {"type": "security_exception", "reason": "x"}}}
    assert forbidden({"errors": True, "items": [{"create": {"status": 201}}, item]})
    assert not forbidden({"errors": True, "items": [{"create": {"status": 409, "error": {"type": "x"}}}]})
    assert not forbidden({"items": [{"create": {"status": 201}}]})
