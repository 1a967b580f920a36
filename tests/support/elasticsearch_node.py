"""A real Elasticsearch node for a module of tests: the one that the tour starts, on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.tour.elasticsearch import Node, build
from tests.support.ports import free_port
from tests.support.real_parts import program


@pytest.fixture(scope="module")
def elasticsearch_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running node for one module of tests. It ends with the thread that starts it: `start` it on this one."""
    for name in ("java", "mvn", "unzip"):
        program(name)
    build(print)
    node = Node(tmp_path_factory.mktemp("elasticsearch") / "node", free_port())  # some tests start it again
    node.folder.mkdir()
    node.start()
    node.await_ready()
    yield node
    node.kill()
