"""The lines of one request, wherever they stand: by its 受付番号, whose time says how far back to look."""

from __future__ import annotations

import time

import pytest

from audit.event import Action, event
from audit.originals import given_out, originals
from gateway.gate.reference import new_reference, reference_time, shown
from tests.support.trails import Trail


@pytest.mark.parametrize("wall", [0.0, 1_700_000_000.123, 4_102_444_800.0, 30_000_000_000.999])
def test_the_time_in_a_reference_is_read_as_it_was_written(wall: float) -> None:
    reference = new_reference(wall)
    assert given_out(reference) == reference_time(reference) == pytest.approx(wall, abs=0.001)


def test_all_lines_of_a_request_are_found_oldest_first(trail: Trail) -> None:
    wall = time.time()
    reference = new_reference(wall)
    fields = {"http.request.id": reference}
    other = [event(Action.REQUEST_DECIDED, wall + number, {"http.request.id": new_reference(wall)})
             for number in range(40)]  # fmt: skip
    trail.write("worker-0", [event(Action.REQUEST_DECIDED, wall, fields), *other,
                             event(Action.REQUEST_COMPLETED, wall + 50, fields)], segment_bytes=1500)  # fmt: skip
    trail.write("control", [event(Action.SESSION_STARTED, wall + 1, fields)])

    for spelling in (reference, shown(reference), shown(reference).lower()):
        found = originals(trail.journals, spelling)
        assert [raw.id for raw in found] == ["worker-0:1:2", "control:1:2", "worker-0:1:43"]
        assert all(fields["http.request.id"].encode() in raw.line for raw in found)
    assert originals(trail.journals, found[2].id) == [found[2]]
    for nothing in (new_reference(wall), "worker-0:1:99", "worker-0:7:1", "../control:1:1", "x", ""):
        assert originals(trail.journals, nothing) == []
