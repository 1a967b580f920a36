"""Records become documents: one a request, whatever is open is shown as open, and a restart changes nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audit.documents import OPEN_AFTER, Document, Folder, documents
from audit.ecs import FIELDS
from audit.elastic.template import DATASETS, Lifecycle, component_templates, index_templates, roles, stream
from audit.event import SHAPES, Action, event

NOW = 1_790_000_000.0


def record(seq: int, action: Action, request_id: str = "", **fields: Any) -> dict[str, Any]:
    body = {"v": 1, "writer": "worker-0", "epoch": 2, "seq": seq, "prev": "00" * 32, **event(action, NOW + seq)}
    if request_id:
        body["http.request.id"] = request_id
    return body | {name.replace("__", "."): value for name, value in fields.items()}


def decided(seq: int, request_id: str, verdict: str = "forward") -> dict[str, Any]:
    return record(seq, Action.REQUEST_DECIDED, request_id, sekisho__verdict=verdict, event__outcome="success")


def completed(seq: int, request_id: str) -> dict[str, Any]:
    return record(seq, Action.REQUEST_COMPLETED, request_id, http__response__status_code=200)


def test_decision_and_completion_are_one_document() -> None:
    folder = Folder()

    assert folder.take(decided(1, "R"), NOW) == []
    (made,) = folder.take(completed(2, "R"), NOW)

    assert (made.id, made.dataset) == ("R", "access")
    assert made.body["event.action"] == "request.decided"
    assert made.body["http.response.status_code"] == 200
    assert (made.body["sekisho.journal.seq"], made.body["sekisho.journal.completed_seq"]) == (1, 2)
    assert made.body["event.end"] > made.body["@timestamp"]
    assert not {"v", "prev", "writer", "epoch", "seq"} & set(made.body)


def test_refusal_is_complete_at_once_and_other_records_stand_alone() -> None:
    folder = Folder()

    assert [d.id for d in folder.take(decided(1, "R", "refuse"), NOW)] == ["R"]
    assert [d.id for d in folder.take(record(2, Action.SESSION_ENDED), NOW)] == ["worker-0:2:2"]
    assert [d.id for d in folder.take(record(3, Action.TUNNEL_PROGRESS, "R"), NOW)] == ["R.p2:3"]


def test_open_request_is_shown_once_after_thirty_seconds() -> None:
    folder = Folder()
    folder.take(decided(1, "R"), NOW)

    assert folder.overdue(NOW + OPEN_AFTER - 1) == []
    assert [d.id for d in folder.overdue(NOW + OPEN_AFTER)] == ["R.open"]
    assert folder.overdue(NOW + OPEN_AFTER) == []
    assert [d.id for d in folder.take(completed(2, "R"), NOW)] == ["R"]


def test_completion_without_its_decision_stands_alone() -> None:
    assert [d.id for d in Folder().take(completed(9, "R"), NOW)] == ["worker-0:2:9"]


@given(st.data())
def test_restart_anywhere_gives_the_same_documents(data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.sampled_from("ABCDEFGH"), unique=True, max_size=8))
    verdicts = st.sampled_from(["forward", "refuse"])
    lines = [decided(0, request_id, data.draw(verdicts)) for request_id in ids]
    lines += [completed(0, request_id) for request_id in data.draw(st.permutations(ids)) if data.draw(st.booleans())]
    lines = [{**line, "seq": number} for number, line in enumerate(lines, 1)]
    cut = data.draw(st.integers(0, len(lines)))

    folder = Folder()
    made: list[Document] = [d for line in lines[:cut] for d in folder.take(line, NOW)]
    folder = Folder.restore(folder.snapshot())
    made += [d for line in lines[cut:] for d in folder.take(line, NOW)]
    made += folder.overdue(NOW + OPEN_AFTER)

    assert made == documents(lines, NOW)
    assert len({d.id for d in made}) == len(made)


def test_mapping_has_every_field_once_and_is_strict_inside() -> None:
    mappings = component_templates()["sekisho@mappings"]["template"]["mappings"]

    for name in FIELDS:
        node: Any = mappings["properties"]
        *path, leaf = name.split(".")
        for part in path:
            node = node[part]["properties"]
        assert "type" in node[leaf]
    assert mappings["dynamic"] is False
    assert mappings["properties"]["sekisho"]["dynamic"] == "strict"


def test_every_dataset_of_an_action_has_its_stream_and_template() -> None:
    used = {shape.dataset.removeprefix("sekisho.") for shape in SHAPES.values()}

    assert used <= set(DATASETS)
    assert stream("access", "mihon") == "logs-sekisho.access-mihon"
    for name, body in index_templates(Lifecycle("365d")).items():
        assert body["priority"] > 200
        assert body["index_patterns"] == [f"{name}-*"]


def test_writing_key_can_only_create() -> None:
    privileges = roles("mihon")["write"]["sekisho_write"]

    assert privileges["cluster"] == []
    assert privileges["index"] == [{"names": ["logs-sekisho.*-mihon"], "privileges": ["create_doc", "auto_configure"]}]
