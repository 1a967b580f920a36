"""What has to hold of the figures of `make bench`: one table of bounds, with the goals they stand beside.

A bound names one figure of one part's result. A figure beyond its bound, or one that is no number, does not hold; one
that a whole run did not bring (no Go on the machine, no compiled build) is told as not measured, never as holding.
Beside the Go yardstick every row is compared in which it does the same work as we do, with Go's own setting of its
garbage collector and with GOGC=800. Of latencies only the median: on a shared machine the rest is the neighbours'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PATH: Final = "path"  # the name of the request path among the parts
GO: Final = {"go": "the chain in Go, as it comes", "go tuned": "the chain in Go, GOGC=800"}


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure and what it may be."""

    part: str
    what: str
    at: tuple[str, ...]  # the keys that lead to the figure in the part's result
    limit: float
    unit: str = "×"
    goal: float | None = None  # what is wished for; told, not asserted
    least: bool = False  # `limit` is the least that it may be, not the most
    promise: str = "P4.ahead-of-go"  # the clause of tests/promises.toml that it shows

    def figure(self, told: Mapping[str, Any]) -> float | None:
        """Return the figure in the part's result; None where it was not measured."""
        found: Any = told
        for key in self.at:
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return None if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Judged:
    """One bound and what was measured; `figure` None: nothing."""

    bound: Bound
    figure: float | None

    @property
    def holds(self) -> bool:
        """Tell whether it was measured and keeps the bound; a figure that is no number (NaN) does not."""
        if self.figure is None:
            return False
        return self.figure >= self.bound.limit if self.bound.least else self.figure <= self.bound.limit

    @property
    def limit(self) -> str:
        """The bound for people."""
        return f"{'≥' if self.bound.least else '≤'} {self.bound.limit:g} {self.bound.unit}".rstrip()

    @property
    def shown(self) -> str:
        """The figure for people; rounded, but never so that it seems to keep a bound that it does not."""
        if self.figure is None:
            return "not measured"
        text = f"{self.figure:.2f}"
        if self.holds != Judged(self.bound, float(text)).holds:
            text = f"{self.figure:.6g}"
        return f"{text} {self.bound.unit}".rstrip()

    def sentence(self) -> str:
        """What is told of a bound that does not hold."""
        return f"{self.bound.promise}: {self.bound.what}: {self.shown}, bound {self.limit}"


def _ratio(
    what: str, name: str, over: str, limit: float, goal: float | None = None, promise: str = "P4.ahead-of-go"
) -> Bound:
    return Bound(PATH, what, ("ratios", f"{name} / {over}", "median"), limit, goal=goal, promise=promise)


def _chain() -> Iterator[Bound]:
    chain = {
        "written": "full chain, written", "synced": "full chain, synced", "compiled": "full chain, written, compiled",
    }  # fmt: skip
    yield _ratio("bare edge beside nginx", "bare", "nginx", 2.2, 1.6, "P4.bare-edge-ratio")
    yield _ratio(f"{chain['written']}, beside nginx", "written", "nginx", 3.3, 2.7, "P4.request-path-ratio")
    yield _ratio(f"{chain['compiled']}, beside nginx", "compiled", "nginx", 3.0, 2.4, "P4.compiled-ratio")
    for name in ("written", "compiled"):
        everything = f"{chain[name]}, everything at steady lag, beside nginx"
        yield _ratio(everything, f"{name}, everything", "nginx", 4.5, promise="P4.everything-ratio")
    yield _ratio(f"{chain['synced']}, over written", "synced", "written", 1.1, promise="P4.synced-cost")
    for over, title in GO.items():
        for name, what in chain.items():
            yield _ratio(f"{what}, beside {title}", name, over, 1.0)


def _beside_go(part: str, what: str, *at: str) -> Iterator[Bound]:
    """Our cost over Go's, of a result whose `ratio` names the others."""
    for over, title in GO.items():
        yield Bound(part, f"{what}, beside {title}", (*at, "ratio", over, "median"), 1.0)


def _bodies() -> Iterator[Bound]:
    for way in ("download", "upload"):
        what = f"1 MiB bodies, {way}: bytes a CPU second"
        nginx = (way, "ratio", "median")
        yield Bound("bodies", f"{what}, beside nginx", nginx, 0.9, goal=1.2, least=True, promise="P4.large-bodies")
        for over, title in GO.items():
            yield Bound("bodies", f"{what}, beside {title}", (way, f"ratio_{over}", "median"), 1.0, least=True)


def _memory() -> Iterator[Bound]:
    kinds = {"kept": ("an idle kept-alive connection", 3.5), "socket": ("an idle WebSocket", 7.0)}
    for key, (what, limit) in kinds.items():
        yield Bound("holding", f"memory of {what}", ("gateway", key), limit, "KiB", promise="P4.idle-memory")
        for over, title in GO.items():
            yield Bound("holding", f"memory of {what}, beside {title}", ("ratio", over, key), 1.0)


def _latency() -> Iterator[Bound]:
    for rate in ("500", "2000"):
        for over, title in GO.items():
            yield Bound("latency", f"p50 at {rate}/s, beside {title}", (rate, "ratio", over, "median"), 1.0)


def _shipping() -> Iterator[Bound]:
    clause = "P6.shipping-keeps-pace"
    helper, lag = "rate beside the official bulk helper", "lag p95 at 1,000 records/s"
    yield Bound("shipping", helper, ("rate", "ratio", "median"), 0.8, least=True, promise=clause)
    yield Bound("shipping", lag, ("lag", "p95"), 2.0, "s", promise=clause)
    yield Bound("shipping", "lag is back after a burst, 1 = yes", ("lag", "recovered"), 1.0, "", None, True, clause)
    yield Bound("shipping", "until the lag of a burst is back", ("lag", "burst_seconds"), 30.0, "s", promise=clause)


BOUNDS: Final[Sequence[Bound]] = (
    *_chain(),
    *_beside_go("workers", "2 workers", "2"),
    *_beside_go("secured", "TLS, kept alive", "kept"),
    *_beside_go("secured", "TLS, new connection, full handshake", "new"),
    *_beside_go("secured", "TLS, new connection, resumed", "resumed"),
    *_beside_go("fanout", "waiting for a slow app: CPU a request", "cpu"),
    *_beside_go("fanout", "waiting for a slow app: memory a request", "memory"),
    *_bodies(),
    *_latency(),
    Bound("many", "200,000 live sessions, over one", ("sessions", "median"), 1.05, promise="P4.many-sessions"),
    *_memory(),
    Bound("revocation", "revocation p99, to the last byte", ("worst", "p99"), 100.0, "ms", promise="P3.within-100-ms"),
    Bound("keeping", "journal over SHA-256 and write()", ("ratio", "median"), 6.0, promise="P2.journal-cost"),
    Bound("proving", "verify over plain SHA-256", ("ratio", "median"), 2.5, promise="P5.verify-rate"),
    Bound("searching", "search p95", ("p95_ms",), 1000.0, "ms", promise="P6.search-answers-soon"),
    *_shipping(),
)  # fmt: skip


def judged(results: Mapping[str, Mapping[str, Any]]) -> list[Judged]:
    """Hold what was measured against the bounds of those parts; `results` is by the name of the part."""
    return [Judged(bound, bound.figure(results[bound.part])) for bound in BOUNDS if bound.part in results]


def table(rows: Sequence[Judged]) -> str:
    """Every bound with its figure, for people."""
    width = max((len(row.bound.what) for row in rows), default=0)
    lines = [f"{'bound':{width}}  {'measured':>14}  {'must be':>10}  {'goal':>5}"]
    for row in rows:
        goal = "" if row.bound.goal is None else f"{row.bound.goal:g}"
        mark = "" if row.holds else "  not measured" if row.figure is None else "  DOES NOT HOLD"
        shown = "–" if row.figure is None else row.shown
        lines.append(f"{row.bound.what:{width}}  {shown:>14}  {row.limit:>10}  {goal:>5}{mark}")
    return "\n".join(lines)


def verdict(rows: Sequence[Judged], failed: Mapping[str, str]) -> tuple[int, str]:
    """Return the exit status and what is told: 1 = a bound does not hold, 3 = one was not measured, 0 = all hold.

    `failed` names the parts that came to no result, with the fault; one of them is as bad as a bound that is broken.
    """
    beyond = [f"{name}: failed: {fault.strip()}" for name, fault in failed.items()]
    beyond += [row.sentence() for row in rows if row.figure is not None and not row.holds]
    missing = [row.sentence() for row in rows if row.figure is None]
    return 1 if beyond else 3 if missing else 0, "\n".join([*beyond, *missing])
