"""`apps test` shows what the gate sends, not what somebody once wrote down about it."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.apps.probe import sample_headers
from gateway.gate.assertion import Signer
from gateway.gate.request import Moment
from gateway.gate.verdict import Forward
from tests.support.gate_world import APP, DEVICE, MONO, NOW, USER, World, head

ISSUER = "https://portal.sekisho.localhost:8443"
OF_ONE_REQUEST = ("jti", "sid")  # differ between any two statements


@pytest.mark.parametrize("groups", [("shokuin",), ("shokuin", "課,係", "tax")])
def test_the_sample_is_what_the_gate_sends(groups: tuple[str, ...]) -> None:
    world, app, user = World(), replace(APP, presets=("jwt", "remote-user")), replace(USER, groups=groups)
    world.put("app", app.id, app)
    world.put("user", user.id, user)
    verdict = world.judge(head())
    assert isinstance(verdict, Forward)
    lines = Signer(_key(), ISSUER).lines(verdict, Moment(NOW, MONO)).decode().splitlines()
    sent = dict(line.split(": ", 1) for line in lines)
    sample = {row["name"]: row["value"] for row in sample_headers(app, user, DEVICE, ISSUER, NOW)}
    claims = jwt.decode(sent.pop(app.assertion_header), options={"verify_signature": False})
    sampled = sample.pop(app.assertion_header)
    assert set(sampled) == set(claims)
    same = set(claims) - set(OF_ONE_REQUEST)
    assert {name: sampled[name] for name in same} == {name: claims[name] for name in same}
    assert {**sample, "X-Sekisho-Request-Id": verdict.request_id} == sent


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
