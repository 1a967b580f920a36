"""Alerts out, fed by `gateway.alerting` from the trail.

`alert` says which records need a person, `outbox` sends each matter once in a while and tries again, `channels` are
the ways (mail, webhook).
"""

__all__: list[str] = []
