"""The pools of each app: one for each of its upstreams, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.edge.address import Upstream
from gateway.edge.choice import SESSION, by_session, least_loaded, may_repeat
from gateway.edge.pool import HealthChange, Pool
from gateway.edge.services import EdgeTimeouts, Passed, UpstreamBounds
from gateway.edge.timeouts import Sweeper
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward
from gateway.state.records import App

Tell = Callable[[str, HealthChange], None]
"""Takes an app's id and what changed in the health of one of its upstreams."""


def _told_nobody(app_id: str, change: HealthChange) -> None:
    del app_id, change


@dataclass(frozen=True, slots=True)
class _Served:
    """What serves one app."""

    app: App
    sole: Pool | None  # the app's only one
    pools: tuple[Pool, ...]


class Pools:
    """The pools of all apps. A changed registration keeps the pools of the upstreams that it did not change."""

    def __init__(
        self,
        timeouts: EdgeTimeouts,
        sweeper: Sweeper,
        bounds: UpstreamBounds | None = None,
        tell: Tell = _told_nobody,
    ) -> None:
        self._timeouts = timeouts
        self._sweeper = sweeper
        self._bounds = bounds or UpstreamBounds()
        self._tell = tell
        self._apps: dict[str, _Served] = {}
        self._turn = 0

    def of(self, app: App, session: str = "", request: RequestHead | None = None) -> Pool:
        """Return the pool for a request of this app session; raises ValueError where an upstream cannot be read.

        Where none may be asked now it is one that refuses at once.
        """
        served = self._apps.get(app.id)
        if served is None or served.app is not app:
            served = self._serve(app, served)
        if served.sole is not None:
            return served.sole
        return self._chosen(app, served.pools, session, request) or served.pools[0]

    def elsewhere(self, verdict: Passed, request: RequestHead, tried: Collection[Pool]) -> Pool | None:
        """Return another pool than those for a request that none of them took; None where there is none to ask now."""
        served = self._apps.get(verdict.app.id) if isinstance(verdict, Forward) else None
        if served is None or not isinstance(verdict, Forward):
            return None
        left = tuple(pool for pool in served.pools if pool not in tried)
        return self._chosen(served.app, left, verdict.app_session_id, request)

    def keep(self, apps: Collection[str]) -> None:
        """Close the pools of all apps but those."""
        for app_id in [app_id for app_id in self._apps if app_id not in apps]:
            for pool in self._apps.pop(app_id).pools:
                pool.close()

    def close(self) -> None:
        """Close every pool."""
        self.keep(())

    def counted(self) -> Mapping[str, list[dict[str, Any]]]:
        """Return for each app, by id, the state and counts of each of its upstreams, as JSON values."""
        return {
            app_id: [
                {"address": pool.address, "open": pool.breaker.open, "load": pool.load, **asdict(pool.counts)}
                for pool in served.pools
            ]
            for app_id, served in self._apps.items()
        }

    def _chosen(self, app: App, pools: tuple[Pool, ...], session: str, request: RequestHead | None) -> Pool | None:
        now = self._sweeper.clock()
        ready = [pool for pool in pools if pool.breaker.admits(now)]
        if request is not None and not may_repeat(request):  # it probes no upstream while another one is well
            ready = [pool for pool in ready if not pool.breaker.open] or ready
        if not ready:
            return None
        if app.affinity == SESSION and session:
            return by_session(ready, session)
        self._turn += 1
        return least_loaded(ready, self._turn)

    def _serve(self, app: App, before: _Served | None) -> _Served:
        """Take a registration; raises ValueError and changes nothing where an upstream of it cannot be read."""
        limits = self._timeouts
        if app.upstream_first_byte or app.upstream_between:
            first, between = limits.upstream_first_byte, limits.upstream_between
            limits = replace(
                limits,
                upstream_first_byte=app.upstream_first_byte or first,
                upstream_between=app.upstream_between or between,
            )
        upstreams = [Upstream.parse(text, app.upstream_ca) for text in app.addresses]
        origins = frozenset(upstream.origin for upstream in upstreams)
        known = () if before is None else before.pools
        kept = {pool.upstream: pool for pool in known if pool.timeouts == limits}
        pools = tuple(
            kept[upstream] if upstream in kept else self._pool(app.id, upstream, limits) for upstream in upstreams
        )
        for pool in pools:
            pool.origins = origins
            pool.others = tuple(other for other in pools if other is not pool)
        served = self._apps[app.id] = _Served(app, pools[0] if len(pools) == 1 else None, pools)
        for pool in known:
            if pool not in pools:
                pool.close()
        return served

    def _pool(self, app_id: str, upstream: Upstream, timeouts: EdgeTimeouts) -> Pool:
        return Pool(upstream, timeouts, self._sweeper, self._bounds, lambda change: self._tell(app_id, change))
