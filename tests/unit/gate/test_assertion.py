"""The signed assertion: what it says, how long it is used, when it is dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.gate.assertion import Signer, key_set, load_key, public_jwk
from gateway.gate.request import Moment
from gateway.gate.verdict import Forward
from tests.support.gate_world import APP, DEVICE, HOST, MONO, NOW, REQUEST_ID, USER, World, head

if TYPE_CHECKING:
    from jwt.types import Options

CURRENT, NEXT = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ISSUER = "https://portal.sekisho.localhost:8443"


def forward(world: World) -> Forward:
    verdict = world.judge(head())
    assert isinstance(verdict, Forward)
    return verdict


def told(signer: Signer, world: World, after: float = 0.0) -> list[tuple[bytes, bytes]]:
    lines = signer.lines(forward(world), Moment(NOW + after, MONO + after))
    assert lines.endswith(b"\r\n")
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]


def token(signer: Signer, world: World, after: float = 0.0) -> str:
    return dict(told(signer, world, after))[b"X-Sekisho-Jwt-Assertion"].decode()


def test_an_app_verifies_it_with_the_published_keys() -> None:
    keys = jwt.PyJWKSet.from_dict(key_set([CURRENT, NEXT]))
    text = token(Signer(CURRENT, ISSUER), World())

    kid = jwt.get_unverified_header(text)["kid"]
    key = keys[kid].key
    no_clock: Options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(text, key, algorithms=["ES256"], audience="docs", issuer=ISSUER, options=no_clock)
    assert claims == jwt.decode(text, key, algorithms=["ES256"], audience=HOST, issuer=ISSUER, options=no_clock)
    assert (claims["iat"], claims["exp"], len(claims["jti"])) == (NOW, NOW + 300, 16)
    assert claims["sekisho"] == {"device_id": "d1", "device_state": "compliant"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(text, keys[public_jwk(NEXT)["kid"]].key, algorithms=["ES256"], audience="docs")


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    published = public_jwk(CURRENT)
    assert set(published) == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert "d" not in published
    assert len(published["kid"]) == 43
    assert published == public_jwk(CURRENT)


def test_it_is_used_for_a_minute_and_dropped_when_what_it_says_changes() -> None:
    world, signer = World(), Signer(CURRENT, ISSUER)
    first = token(signer, world)
    assert token(signer, world, 59.9) == first
    assert token(signer, world, 60.1) != first

    signer = Signer(CURRENT, ISSUER)
    first = token(signer, world)
    world.put("user", USER.id, replace(USER, created_at=1.0))
    assert token(signer, world) == first
    world.put("device", DEVICE.id, replace(DEVICE, in_grace=True, compliant=True, owner=""))
    assert token(signer, world) == first
    world.put("user", USER.id, replace(USER, groups=("shokuin",)))
    assert token(signer, world) != first


def test_presets_decide_what_an_app_is_told() -> None:
    world, signer = World(), Signer(CURRENT, ISSUER)
    world.put("app", APP.id, replace(APP, presets=("remote-user",)))
    assert told(signer, world) == [
        (b"Remote-User", b"tanaka"), (b"Remote-Groups", b"shokuin,soumu"), (b"Remote-Email", b"tanaka@city.example"),
        (b"X-Sekisho-Request-Id", REQUEST_ID.encode()),
    ]  # fmt: skip
    world.put("user", USER.id, replace(USER, groups=("shokuin", "総務", "a,b", "x\r\nRemote-User: root"), email=""))
    assert dict(told(signer, world))[b"Remote-Groups"] == b"shokuin"
    world.put("user", USER.id, replace(USER, login="田中"))
    world.put("device", DEVICE.id, replace(DEVICE, owner=""))
    assert [name for name, _ in told(signer, world)] == [b"X-Sekisho-Request-Id"]
    world.put("app", APP.id, replace(APP, assertion_header="Authorization"))
    assert dict(told(signer, world))[b"Authorization"].startswith(b"Bearer ey")
    world.put("app", APP.id, replace(APP, assertion_header="X-Sekisho-Other"))
    assert dict(told(signer, world))[b"X-Sekisho-Other"].startswith(b"ey")


def test_only_a_p256_key_signs() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="P-256"):
        load_key(pem)
