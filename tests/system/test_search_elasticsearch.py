"""One suite of questions, asked of a real Elasticsearch with security on: the answers are those of the journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import elasticsearch
import pytest

from audit.documents import Document, Folder
from audit.elastic.bootstrap import make_keys, put_templates
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.outcome import outcome
from audit.elastic.search import CopySearch
from audit.query import Query, counted
from audit.reader import JournalReader
from audit.search import search
from audit.segment import record_of, writers
from cli.tour.elasticsearch import Node
from tests.contract.test_search_contract import BY, QUESTIONS, T0, places, stable
from tests.contract.test_ten_questions import office
from tests.support.elasticsearch_node import elasticsearch_node
from tests.support.ten_questions import NOW, asked_by, commands

__all__ = ["elasticsearch_node", "office", "places"]
pytestmark = pytest.mark.timeout(600)
HOURS = 4000.0
Asked = Callable[[CopySearch], Coroutine[Any, Any, Any]]


def within(query: Query) -> Query:
    """The records of opening a journal bear the time of this test run: leave them out."""
    return query if query.until is not None else replace(query, until=T0 + 1000)


def copied(journals: Path) -> list[Document]:
    """What a shipper brings that looks each so often: requests open for long come as `.open` first."""
    made = []
    folder, now = Folder(), T0
    for name in writers(journals):
        reader = JournalReader(journals, name)
        while records := reader.read(limit=4000):
            now += HOURS
            for record in records:
                made += folder.take(record_of(record.line), now)
            made += folder.overdue(now + HOURS)
    return made


def copied_to(node: Node, namespace: str, wanted: Sequence[Document]) -> Callable[[Asked], Any]:
    """Bring documents to the cluster, into two backing indices; return how to ask there with the reading key."""

    async def fill() -> str:
        admin = elasticsearch.AsyncElasticsearch(node.url, basic_auth=("admin", node.password), request_timeout=60)
        async with admin:
            await put_templates(admin)
            keys = await make_keys(admin, namespace)
            access = ElasticAccess(node.url, None, keys.write, keys.read, namespace)
            async with ElasticIndex(access) as index:
                half = len(wanted) // 2
                for part in (wanted[:half], wanted[half:]):
                    result = outcome(part, await index.create(part))
                    assert len(result.created) == len(part), result
                    await admin.indices.rollover(alias=f"logs-sekisho.access-{namespace}")
            await admin.indices.refresh(index=f"logs-sekisho.*-{namespace}")
        return keys.read

    read_key = asyncio.run(fill())

    def ask(asked: Asked) -> Any:
        async def run() -> Any:
            async with elasticsearch.AsyncElasticsearch(node.url, api_key=read_key, request_timeout=60) as client:
                return await asked(CopySearch(client, namespace))

        return asyncio.run(run())

    return ask


@pytest.fixture(scope="module")
def asking(elasticsearch_node: Node, places: tuple[Path, Path]) -> Callable[[Asked], Any]:
    """Ask a copy of the journals that the contract is about."""
    wanted = copied(places[0])
    assert sum(document.id.endswith(".open") for document in wanted) > 5
    return copied_to(elasticsearch_node, "contract", wanted)


@pytest.fixture(scope="module")
def office_copy(elasticsearch_node: Node, office: tuple[Path, Path]) -> Callable[[Asked], Any]:
    """Ask a copy of the journals that the ten questions are asked of."""
    return copied_to(elasticsearch_node, "office", copied(office[0]))


@pytest.mark.promise("P6.copy-answers-as-journals")
@pytest.mark.parametrize("query", [within(query) for query in QUESTIONS], ids=[str(n) for n in range(len(QUESTIONS))])
def test_same_answers_from_the_copy(places: tuple[Path, Path], asking: Callable[[Asked], Any], query: Query) -> None:
    async def asked(copy: CopySearch) -> list[dict[str, Any]]:
        return [event async for event in copy.search(query)]

    wanted, found = list(search(places[0], query)), asking(asked)
    if query.limit == 1000:
        assert sorted(map(stable, found)) == sorted(map(stable, wanted))
    assert [row["@timestamp"] for row in found] == [row["@timestamp"] for row in wanted]


@pytest.mark.parametrize("by", BY, ids=["-".join(each) or "all" for each in BY])
@pytest.mark.parametrize("number", [0, 4, 7, 12, 24, 37])
def test_same_counts_from_the_copy(
    places: tuple[Path, Path], asking: Callable[[Asked], Any], number: int, by: Sequence[str]
) -> None:
    query = within(QUESTIONS[number])
    found = asking(lambda copy: copy.count(query, by))
    assert found == counted(search(places[0], replace(query, limit=10_000)), by)


@pytest.mark.parametrize("command", commands())
def test_the_ten_questions_of_the_copy(
    office: tuple[Path, Path], office_copy: Callable[[Asked], Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = asked_by(command, monkeypatch)
    query, by = replace(question.query, until=question.query.until or NOW), question.by
    monkeypatch.undo()

    async def asked(copy: CopySearch) -> list[dict[str, Any]]:
        return [event async for event in copy.search(query)]

    wanted = list(search(office[0], replace(query, limit=10_000)))
    if by is None:
        assert sorted(map(stable, office_copy(asked))) == sorted(map(stable, wanted))
    else:
        assert office_copy(lambda copy: copy.count(query, by)) == counted(wanted, by)
