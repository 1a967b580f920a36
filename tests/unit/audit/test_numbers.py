"""個人番号 and card numbers: found in every spelling, by their check digits alone; what fails the check stays."""

from __future__ import annotations

import time
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.ecs import FIELDS, GIVEN
from audit.event import LONGEST, Action, check, event
from audit.numbers import CARD, PERSONAL, holds, is_card, is_personal, masked, may_hold

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
CIRCLED = str.maketrans("123456789", "①②③④⑤⑥⑦⑧⑨")
DIGITS = st.text("0123456789", min_size=11, max_size=11)


def with_check_digit(eleven: str) -> str:
    """By the 省令's own words: Pn is the n-th digit counted from the lowest of the eleven."""
    total = 0
    for n in range(1, 12):
        p = int(eleven[-n])
        total += p * (n + 1 if n <= 6 else n - 5)
    rest = total % 11
    return eleven + str(0 if rest <= 1 else 11 - rest)


NUMBER = with_check_digit("12345678901")
CARD_NUMBERS = ["4111111111111111", "5555555555554444", "3530111333300000", "378282246310005", "30569309025904",
                "6011111111111117", "6200000000000005", "2223003122003222", "4222222222222"]  # fmt: skip


@given(DIGITS, st.integers(0, 9))
@example("00000000000", 0)
def test_the_check_digit_decides_and_nothing_else(eleven: str, last: int) -> None:
    whole = with_check_digit(eleven)
    text = eleven + str(last)
    assert is_personal(text) is (text == whole)
    assert (masked(f"番号 {text} です") == f"番号 {text} です") is (text != whole)


SPELLINGS = [
    "{n}", "id={n}&x=1", "x{n}y", "{d}", "{s}", "{w}", "{c}", "{p}", "{wp}", "前{n}後", "{half}", "{long}", "{plus}",
    "\n{n}\x1b",
]  # fmt: skip


def spelled(form: str, number: str) -> str:
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]
    encoded = "".join(f"%{ord(digit):02x}" for digit in number)
    half = number[:5] + number[5:].translate(WIDE)
    return form.format(
        n=number, d="-".join(groups), s=" ".join(groups), w=number.translate(WIDE), c=number.translate(CIRCLED),
        p=encoded, wp=quote(number.translate(WIDE)), half=half, long="ー".join(groups).translate(WIDE),
        plus="+".join(groups),
    )  # fmt: skip


@pytest.mark.parametrize("form", SPELLINGS)
@settings(max_examples=30)
@given(eleven=DIGITS)
def test_every_spelling_is_hidden_and_nothing_around_it(form: str, eleven: str) -> None:
    good = with_check_digit(eleven)
    empty = dict.fromkeys(("n", "d", "s", "w", "c", "p", "wp", "half", "long", "plus"), "\ue000")
    around = form.format(**empty)
    assert masked(spelled(form, good)) == around.replace("\ue000", PERSONAL)
    assert may_hold(spelled(form, good).encode())
    bad = good[:-1] + str((int(good[-1]) + 1) % 10)
    assert masked(spelled(form, bad)) == spelled(form, bad)


@pytest.mark.parametrize("number", CARD_NUMBERS)
def test_cards_are_known_by_issuer_and_sum(number: str) -> None:
    assert is_card(number)
    groups = "-".join(number[at : at + 4] for at in range(0, len(number), 4))
    for text in (number, groups, number.translate(WIDE), quote(number.translate(WIDE))):
        assert masked(f"card {text}.") == f"card {CARD}."
    other = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not is_card(other)
    assert masked(other) == other


@pytest.mark.parametrize(
    "text",
    [
        "", "1234", "12345678901", NUMBER + "0", "0" + NUMBER, NUMBER * 2, "9" * 30, "1790000000000",
        "2026-11-22 10:15:30",
        "03-1234-5678 2024", "090-1234-5678", "10.0.22631.4460", "Chrome/120.0.6099.129 Safari/537.36",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "あいうえおかきくけこさしすせそ", "%E3%81%82%E3%81%84%E3%81%86",
        "1234 5678-9018", "1/2/3/4/5/6/7/8/9/0/1/8", "é" * 40, "%", "%%31%3", "7411111111111111",
        "3f2504e0-4f89-11d3-9a0c-" + NUMBER, "3F2504E0-4F89-11D3-9012-" + NUMBER,
        "152b60410752348d" + NUMBER + "d1", NUMBER + "abcdefabcdefabcdef",
    ],
)  # fmt: skip
def test_other_digits_stay_as_they_are(text: str) -> None:
    assert masked(text) == text


def test_two_numbers_in_a_row_and_a_number_among_groups() -> None:
    assert masked(f"{NUMBER} {NUMBER}/{CARD_NUMBERS[0]}") == f"{PERSONAL} {PERSONAL}/{CARD}"
    assert masked("2026-11-22 1234 5678 9018") == f"2026-11-22 {PERSONAL}"


@given(st.text(max_size=200))
def test_any_text_is_taken_and_nothing_but_numbers_goes(text: str) -> None:
    shown = masked(text)
    assert masked(shown) == shown
    if not holds(text):
        assert shown == text
    digits = sum(unicodedata.digit(character, -1) >= 0 for character in text)
    assert digits >= 12 or "%" in text or shown == text


def test_a_long_text_of_digits_costs_little() -> None:
    began = time.process_time()
    hidden = masked("4-" * 4000 + "4")
    assert time.process_time() - began < 5
    assert hidden == PERSONAL


@pytest.mark.promise("P5.no-number-in-a-record")
@pytest.mark.parametrize("field", sorted(GIVEN))
def test_every_field_with_words_from_outside_hides_them(field: str) -> None:
    kind = FIELDS[field]
    text = f"連絡先 {NUMBER.translate(WIDE)}"
    value: Any = [text] if kind.endswith("[]") else {text: [{"x": text}], "n": 1} if kind == "object" else text
    record = event(Action.ADMIN_REQUESTED, 0.0, {field: value})
    hidden = f"連絡先 {PERSONAL}"
    wanted = {"str": hidden, "list": [hidden], "dict": {hidden: [{"x": hidden}], "n": 1}}
    assert record[field] == wanted[type(value).__name__]
    assert check(record) == []


_OURS = """
    event.id event.action event.category event.dataset event.kind event.outcome event.reason event.type error.code
    error.type http.request.id http.request.method http.request.mime_type http.response.mime_type http.version
    url.query url.scheme server.address tls.cipher tls.client.hash.sha256 tls.version user.id user.name
    user.group.name user.roles user.target.id user.target.group.name user.target.roles device.id rule.id
    rule.ruleset rule.version process.name observer.hostname observer.product observer.version related.hosts
    related.user service.id service.name trace.id ecs.version
"""  # codes, ids, digests and names that are grammar-checked where they come in
OURS = frozenset(_OURS.split())
_OURS_OF_SEKISHO = """
    app.id app.path_exceptions app.sensitivity app.hosts app.state
    app_session.id area assertion.id durability facts facts_digest
    listener nearest observed obligations outcome path_digests policy.hash policy.state policy.previous
    query_digests reason shadow upstream.address verdict zone session.id session.ids session.acr session.amr
    session.replaces factor.id factor.kind account.digest lock.id lock.target lock.target_id by receipt.id
    receipt.closed receipt.fenced approval.id approval.kind admin.command admin.id admin.result
    device.uuid posture.source certificate.serial worker settings.digest journal.previous.entry journal.torn.file
    trimmed.entry trimmed.segments log.root log.writer case.id case.severity case.verdict finding.command
    finding.evidence finding.joins finding.kind finding.subject
    disk.limited expired.class expired.sha256 expired.writer key.new key.old key.statement log.origin reconcile.gaps
    crl.authority crl.authority_id crl.digest crl.file crl.number
    export.digest reconcile.kind reconcile.names witness.name witness.state
"""
OURS_OF_SEKISHO = frozenset(_OURS_OF_SEKISHO.split())


def test_every_field_of_text_is_either_ours_or_hidden() -> None:
    """Whoever adds a field that holds text decides here whose words it holds."""
    texts = {name for name, kind in FIELDS.items() if kind.removesuffix("[]") in ("keyword", "text", "object")}
    ours = OURS | {f"sekisho.{name}" for name in OURS_OF_SEKISHO}
    assert set(FIELDS) >= GIVEN
    assert not GIVEN & ours
    assert sorted(texts - GIVEN - ours) == []


def test_a_text_from_outside_is_bounded_and_the_whole_is_named() -> None:
    record = event(Action.ADMIN_REQUESTED, 0.0, {"sekisho.justification": "あ" * 1_000_000})
    told = record["sekisho.justification"]
    assert told.startswith("あ" * LONGEST + "… (sha256:")
    assert told.endswith(", 1000000 characters)")
    assert len(told) < LONGEST + 120
