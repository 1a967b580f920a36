"""How large a request's body may be for one app, and for some of its paths.

A limit is written `PATH BYTES` in the app's record; the path stands for itself and everything below it, the longest
one that fits counts. `/` is the whole app.
"""

from __future__ import annotations

from gateway.state.records import App


def body_limit(app: App, path: str, most: int) -> int:
    """Return the bytes that a body sent to `path` (canonical, decoded) may have; `most` is the installation's limit."""
    longest, found = -1, most
    for entry in app.body_limits:
        above, _, size = entry.rpartition(" ")
        folder = above.rstrip("/")
        if len(folder) > longest and (path == folder or path.startswith(folder + "/")):
            longest, found = len(folder), int(size)
    return min(found, most)
