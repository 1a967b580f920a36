"""The gate's small parts at their edges: targets, cookies, masks, facts, buckets, references, origins, languages."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

import pytest

from gateway.gate import reference
from gateway.gate.client_kind import language_of, wants_page
from gateway.gate.credentials import app_token, digest_of, portal_token, state_token
from gateway.gate.cross_site import is_forged, is_own_origin, is_preflight
from gateway.gate.facts import clock_facts, facts_of_record, moments_of, passing_facts, standing_facts
from gateway.gate.limits import Buckets, Rate
from gateway.gate.masking import digest, masked_path, record_key
from gateway.gate.reference import new_reference, parse_reference, reference_time, shown
from gateway.gate.request import RequestFault, RequestHead
from gateway.gate.standing import device_state, remote_user_headers
from gateway.gate.target import canonical
from policies.reasons import Reason
from tests.support.gate_world import APP, DEVICE, HOST, KEY, NOW, PEER, SESSION, USER, head

DOTS = "empty segment, dot segment or segment ending in a dot"
BLANKS = "empty segment, or segment ending in a dot or space"
CHARACTER = "path holds a character that must be encoded, a parameter or a broken escape"
CONTROL = "control character in the decoded path"
T = b"t" * 43


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", (b"/", "/", None)),
        (b"/?", (b"/", "/", b"")),
        (b"/a?b?c", (b"/a", "/a", b"b?c")),
        (b"/a.b/-_~!$&'()*+,=:@", (b"/a.b/-_~!$&'()*+,=:@", "/a.b/-_~!$&'()*+,=:@", None)),
        (b"/%7e%e3%81%82", (b"/~%E3%81%82", "/~あ", None)),
        (b"/a%20b/%20c", (b"/a%20b/%20c", "/a b/ c", None)),
        (b"/%25", (b"/%25", "/%", None)),
        (b"/%25z", (b"/%25z", "/%z", None)),
        (b"/%C2%A0", (b"/%C2%A0", "/\xa0", None)),
        (b"/a?x={}|^`[]%2f;", (b"/a", "/a", b"x={}|^`[]%2f;")),
    ],
)
def test_what_is_one_path(raw: bytes, expected: tuple[bytes, str, bytes | None]) -> None:
    assert canonical(raw) == expected


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"/a?\\", "query holds a character that must be encoded"),
        (b"/a?#", "query holds a character that must be encoded"),
        (b"//", DOTS), (b"/./", DOTS), (b"/a/..", DOTS), (b"/a.", DOTS), (b"/a./b", DOTS),
        (b"http://a/", "target is not in origin form"), (b"*", "target is not in origin form"),
        (b"/a;b", CHARACTER), (b"/%4", CHARACTER), (b"/a\\b", CHARACTER), (b"/\x80", CHARACTER),
        (b"/%41", "encoded byte that needs no encoding"), (b"/%2e", "encoded byte that needs no encoding"),
        (b"/%5F", "encoded byte that needs no encoding"),
        (b"/%2f", "encoded separator"), (b"/%5c", "encoded separator"), (b"/%3B", "encoded separator"),
        (b"/%00", "encoded control character"), (b"/%1f", "encoded control character"),
        (b"/%7F", "encoded control character"), (b"/%2541", "doubly encoded byte"), (b"/%ff", "path is not UTF-8"),
        (b"/%20/a", BLANKS), (b"/a.%E3%81%82/b./c", BLANKS), (b"//%20a", BLANKS),
        (b"/a%20", "segment ending in a dot or space"), (b"/%20a.", "segment ending in a dot or space"),
        (b"/%C2%80", CONTROL), (b"/%C2%9F", CONTROL), (b"/%E2%80%A8", CONTROL), (b"/%E2%80%A9", CONTROL),
    ],
)  # fmt: skip
def test_what_is_no_path(raw: bytes, detail: str) -> None:
    with pytest.raises(RequestFault) as caught:
        canonical(raw)
    fault = caught.value
    assert (fault.status, fault.reason, fault.detail) == (400, Reason.PATH_NOT_CANONICAL, detail)


@pytest.mark.parametrize(
    ("cookies", "token"),
    [
        (b"__Host-sekisho-app=" + T, T), (b"a=1; __Host-sekisho-app=" + T, T), (b"a=1;  __Host-sekisho-app=" + T, T),
        (b"a=1;\t__Host-sekisho-app=" + T + b"\t;b=2", T), (b"ab__Host-sekisho-app=" + T, None),
        (b"a=1, __Host-sekisho-app=" + T, None), (b"a=x; __Host-sekisho-app=" + T[1:] + b";", None),
        (b"__Host-sekisho-app=" + T[2:] + b"; ", None), (b"__Host-sekisho-app=" + T + b"; __Host-sekisho-app=", None),
        (b"__Host-sekisho-app=" + T[:40] + b";a=", None), (b"__Host-sekisho-app=" + T + b" x", None),
    ],
)  # fmt: skip
def test_which_token_is_ours(cookies: bytes, token: bytes | None) -> None:
    assert app_token(cookies) == token
    assert portal_token(cookies.replace(b"-app", b"")) == token
    assert state_token(cookies.replace(b"-app", b"-state")) == token


@pytest.mark.parametrize(("state", "counts"), [("-_" * 21 + "a", True), ("a" * 42 + "<", False), ("-" * 43, False)])
def test_a_state_is_sent_back_only_as_base64url(state: str, counts: bool) -> None:
    assert (state_token(f"__Host-sekisho-state={state}".encode()) is not None) is counts


def test_tokens_are_looked_up_by_their_sha256() -> None:
    assert digest_of(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("templates", "path", "masked"),
    [
        (("/p/*",), "/p/1/2", "/p/~1/2"), (("/p/*",), "/p", "/p"), (("/p/*",), "/q/1", "/q/1"),
        (("/p/*",), "/p/", "/p/"), (("/p/*/x/*",), "/p/1/x/2/3", "/p/~1/x/~2/3"), (("/p/*/x/*",), "/p/1/x", "/p/1/x"),
        (("/p/*", "/p/*/*"), "/p/1/2", "/p/~1/~2"), (("/*/a",), "/1/a", "/~1/a"), (("/*/a",), "/1/b", "/1/b"),
        (("/q/*", "/p/*"), "/p/1", "/p/~1"),
    ],
)  # fmt: skip
def test_masked_segments(templates: tuple[str, ...], path: str, masked: str) -> None:
    expected = "/".join("~" + digest(KEY, part[1:].encode()) if part[:1] == "~" else part for part in masked.split("/"))
    assert masked_path(path, templates, KEY) == expected


def test_digests_are_keyed_blake2b() -> None:
    assert digest(KEY, b"x") == blake2b(b"x", key=KEY, digest_size=12).hexdigest()
    assert digest(b"other", b"x") != digest(KEY, b"x") == digest(KEY, b"x")
    expected = blake2b(b"key", person=b"sekisho-record", digest_size=32).digest()
    assert record_key(b" key\n") == record_key(b"key") == expected


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (0.0, (540, "thu")), (53_999.9, (1439, "thu")), (54_000.0, (0, "fri")), (54_060.0, (1, "fri")),
        (54_059.9, (0, "fri")), (54_000.0 + 3 * 86_400, (0, "mon")), (NOW, (23 * 60 + 13, "mon")),
    ],
)  # fmt: skip
def test_the_clock_of_japan(wall: float, expected: tuple[int, str]) -> None:
    assert clock_facts(wall) == expected


def test_every_day_of_a_week_has_its_name() -> None:
    assert [clock_facts(day * 86_400.0)[1] for day in range(7)] == ["thu", "fri", "sat", "sun", "mon", "tue", "wed"]


def test_ages_are_whole_seconds_and_never_negative() -> None:
    passing = passing_facts((("auth.age", 1000.9), ("mfa.age", 2000.0)), 1500)
    assert passing == {"time.of_day": 565, "time.weekday": "thu", "time.now": 1500, "auth.age": 500, "mfa.age": 0}
    unread = replace(DEVICE, patched_at=None, seen_at=None)
    assert moments_of(replace(SESSION, mfa_at=None), unread) == (
        ("auth.age", SESSION.created_at), ("posture.read_age", DEVICE.read_at),
    )  # fmt: skip
    assert moments_of(replace(SESSION, mfa_at=None), None) == (("auth.age", SESSION.created_at),)


def test_a_fact_that_is_not_known_is_absent() -> None:
    bare = replace(
        DEVICE, owner="", os="", os_version="", managed=None, compliant=None, in_grace=False, encrypted=None,
        jailbroken=None,
    )  # fmt: skip
    facts = standing_facts(USER, replace(SESSION, mfa_method=""), bare, APP)
    assert facts == {
        "user.id": "u1", "user.login": "tanaka", "user.groups": frozenset({"shokuin", "soumu"}), "user.kind": "staff",
        "user.department": "総務課", "user.contract_valid": True, "mfa.amr": frozenset({"pwd", "otp", "mfa"}),
        "device.known": True, "device.in_grace": False, "app": "docs", "app.sensitivity": "2", "app.business": "文書",
    }  # fmt: skip
    assert standing_facts(USER, SESSION, None, APP)["device.known"] is False
    assert standing_facts(USER, SESSION, replace(DEVICE, owner="x"), APP)["device.owner_match"] is False


def test_facts_come_back_from_a_record_as_they_were() -> None:
    record = {
        "user.id": "u", "user.name": "l", "user.group.name": ["a", "b"], "sekisho.zone": "z", "sekisho.app.id": "p",
        "http.request.method": "GET", "url.path": "/x", "sekisho.facts": {"mfa.amr": ["otp"], "mfa.age": 1},
    }  # fmt: skip
    assert facts_of_record(record) == {
        "user.id": "u", "user.login": "l", "user.groups": frozenset("ab"), "net.zone": "z", "app": "p",
        "http.method": "GET", "http.path": "/x", "mfa.amr": frozenset({"otp"}), "mfa.age": 1,
    }  # fmt: skip
    assert facts_of_record({"sekisho.facts": "broken"}) == {}


@pytest.mark.parametrize(
    ("compliant", "grace", "state"),
    [(True, False, "compliant"), (True, True, "compliant"), (False, True, "in_grace"), (False, False, "not_compliant"),
     (None, True, "unknown")],
)  # fmt: skip
def test_the_devices_state_in_a_word(compliant: bool | None, grace: bool, state: str) -> None:
    assert device_state(replace(DEVICE, compliant=compliant, in_grace=grace)) == state
    assert device_state(None) == "unknown"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["tanaka", "shokuin,soumu", "tanaka@city.example"]), ({"login": ""}, []),
        ({"login": "a b"}, ["a b", "shokuin,soumu", "tanaka@city.example"]),
        ({"login": "a,b"}, []), ({"login": " a"}, []), ({"login": "a\n"}, []), ({"login": "あ"}, []),
        ({"groups": ("z", "a"), "email": "あ@x"}, ["tanaka", "a,z"]),
        ({"groups": ("あ", "b\n"), "email": ""}, ["tanaka"]),
    ],
)  # fmt: skip
def test_plain_headers_carry_only_what_they_safely_can(changes: dict[str, Any], expected: list[str]) -> None:
    names = [b"Remote-User", b"Remote-Groups", b"Remote-Email"]
    told = remote_user_headers(replace(USER, **changes))
    assert told == tuple((name, value.encode()) for name, value in zip(names, expected, strict=False))


def test_a_bucket_at_its_edges() -> None:
    buckets = Buckets(Rate(per_second=0.5, burst=2), 2)
    assert [buckets.take("a", 10.0), buckets.take("a", 10.0), buckets.take("a", 10.0)] == [0, 0, 2]
    assert [buckets.take("a", 11.0), buckets.take("a", 12.0), buckets.take("a", 12.0)] == [1, 0, 2]
    assert [buckets.take("a", 16.0), buckets.take("a", 16.0), buckets.take("a", 16.0)] == [0, 0, 2]
    assert len(buckets) == 1
    one = Buckets(Rate(per_second=4, burst=1), 2)
    assert [one.take("a", 0.0), one.take("a", 0.25), one.take("a", 0.49)] == [0, 0, 1]


def test_a_full_table_forgets_the_full_buckets_then_the_older_half() -> None:
    buckets = Buckets(Rate(per_second=1, burst=1), 4)
    for name in "abcd":
        buckets.take(name, 0.0)
    assert len(buckets) == 4
    buckets.take("e", 1.0)  # all four are full again
    assert len(buckets) == 1
    for name in "fgh":
        buckets.take(name, 1.0)
    buckets.take("i", 1.0)  # none is: the older half goes
    assert len(buckets) == 3
    assert [buckets.take(name, 1.5) for name in "ghi"] == [1, 1, 1]
    half = Buckets(Rate(per_second=1, burst=1), 4)
    for at, name in enumerate("abcd"):
        half.take(name, at * 0.75)
    half.take("e", 2.25)  # two of four are not full: they stay
    assert len(half) == 3
    assert [half.take("c", 2.3), half.take("d", 2.3)] == [1, 1]


@pytest.mark.parametrize(("rate", "capacity"), [(Rate(1, 0.9), 2), (Rate(1, 1), 1), (Rate(0, 1), 2)])
def test_buckets_that_make_no_sense(rate: Rate, capacity: int) -> None:
    with pytest.raises(ValueError, match="a rate above 0, a burst of at least 1 and room for 2 names"):
        Buckets(rate, capacity)


@pytest.mark.parametrize(
    ("wall", "chance", "text"),
    [
        (0.0, b"\0\0\0\0\0\0\0", "0000000000000000"), (0.001, b"\0\0\0\0\0\0\1", "0000000010000001"),
        (0.031, b"\1\2\3\4\5\6\x1f", "00000000Z123456Z"), (1.024, b"\x20\x21\x3f\0\0\0\0", "00000010001Z0000"),
        (1.79e9, b"\xff\xff\xff\xff\xff\xff\xff", "1M3250V00ZZZZZZZ"),
        (33.792, b"\0\0\0\0\0\1\0", "0000011000000010"),
        (2.0**45 / 1000 + 0.001, b"\0\0\0\1\0\0\0", "0000000010001000"),
    ],
)  # fmt: skip
def test_a_reference_is_the_time_and_then_chance(
    wall: float, chance: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(reference, "_chances", [])
    monkeypatch.setattr(
        reference, "getrandbits", lambda bits: asked.append(bits) or int.from_bytes(chance * (bits // 56), "little")
    )
    assert new_reference(wall) == text
    assert new_reference(wall) == text  # the same moment again
    assert asked == [8 * 7 * 256], "one draw for many names"
    assert reference_time(text) == int(wall * 1000) % (1 << 45) / 1000
    assert shown("0123456789ABCDEF") == "0123-4567-89AB-CDEF"


def test_a_reference_is_read_as_people_type_it() -> None:
    assert parse_reference("oil0-1234\u30005678 90ab") == "0110123456789" + "0AB"
    for wrong in ("U" * 16, "0" * 15, "0" * 17):
        with pytest.raises(ValueError, match="a reference has 16 letters and digits, such as 01JD-X4V2-9K3M-7QTB"):
            parse_reference(wrong)


@pytest.mark.parametrize(
    ("method", "upgrade", "fields", "forged"),
    [
        ("GET", False, {"Origin": "https://evil.example"}, False),
        ("HEAD", False, {"Origin": "https://evil.example"}, False),
        ("OPTIONS", False, {"Origin": "https://evil.example"}, False),
        ("GET", True, {"Origin": "https://evil.example"}, True),
        ("POST", False, {"Origin": "https://evil.example"}, True), ("POST", False, {}, False),
        ("POST", False, {"Sec_Fetch_Site": "cross-site"}, True), ("PUT", False, {"Sec_Fetch_Site": "same-site"}, False),
        ("POST", False, {"Origin": f"https://{HOST}"}, False), ("POST", False, {"Origin": f"http://{HOST}"}, True),
        ("POST", False, {"Origin": "https://portal.other.example"}, False),
    ],
)  # fmt: skip
def test_who_may_have_started_a_request(method: str, upgrade: bool, fields: dict[str, Any], forged: bool) -> None:
    assert is_forged(head(method, upgrade=upgrade, **fields), APP) is forged


def test_an_origin_is_compared_with_the_host_that_was_asked() -> None:
    request = head(host="Docs.Sekisho.Localhost:8443", peer=replace(PEER, scheme="http"))
    assert is_own_origin(request, b"http://docs.sekisho.localhost:8443")
    assert not is_own_origin(request, b"https://docs.sekisho.localhost:8443")
    assert is_preflight(head("OPTIONS", Origin="x", Access_Control_Request_Method="PUT"))
    assert not is_preflight(head("OPTIONS", Origin="x"))
    assert not is_preflight(head("OPTIONS", Access_Control_Request_Method="PUT"))
    assert not is_preflight(head("GET", Origin="x", Access_Control_Request_Method="PUT"))


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("en;q=0.5,ja;q=0.5", "en"), ("en;q=0.5,ja;q=0.6", "ja"), ("EN-us", "en"), ("en;q=2,ja", "en"),
        ("ja;q=0.9,en;q=2", "en"), ("en;q=-1", "ja"), ("fr, en;q=0.1", "en"), (",".join(["fr"] * 15 + ["en"]), "en"),
        (",".join(["fr"] * 16 + ["en"]), "ja"),
    ],
)  # fmt: skip
def test_the_first_language_that_we_speak(accepted: str, language: str) -> None:
    assert language_of(head(Accept_Language=accepted).find, "", "ja") == language
    assert language_of(None, "", "en") == "en"
    assert language_of(head(Accept_Language=accepted).find, "ja", "en") == "ja"


def test_pages_only_where_somebody_looks() -> None:
    nobody: RequestHead | None = None
    assert wants_page(nobody) is False
    assert wants_page(head(upgrade=True, Sec_Fetch_Mode="navigate")) is False
    assert wants_page(head(Sec_Fetch_Mode="navigate")) is True
