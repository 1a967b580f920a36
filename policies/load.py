"""From the bytes of a policy file to the IR, or all its faults at once.

Workers never import this module: they receive the IR over the feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from policies.catalogue import CATALOGUE, NAMEABLE, OPERATORS, Kind
from policies.decision import Effect, Obligation
from policies.model import Condition, Mode, PolicyIR, PolicyTest, PostureLimits, Rule
from policies.schema import (
    ExpectModel,
    MetadataModel,
    PolicyModel,
    PostureModel,
    RuleModel,
    TestModel,
    context_of,
    nearest_of,
)
from policies.testing import run_tests
from policies.versions import policy_hash
from policies.yaml_positions import Document, Fault, read
from policies.yaml_positions import Path as Place

_EXPECTED: Final = {
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_type": "a whole number",
    "too_short": "more values",
    "too_long": "fewer values",
    "string_pattern_mismatch": "lower-case letters, digits, - and _",
    "greater_than_equal": "a number from 1",
}
_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "metadata": MetadataModel,
    "posture": PostureModel,
    "rules": RuleModel,
    "tests": TestModel,
    "expect": ExpectModel,
}
TEXT_SHOWN: Final = 60


class PolicyFaults(ValueError):
    """A policy file that cannot be used. `faults` holds everything that is wrong with it, in the file's order."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda item: (item.line, item.column, item.key)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def load_policy(source: bytes, name: str) -> PolicyIR:
    """Read, check and test one policy file. `name` is what faults call the file.

    Raises:
        PolicyFaults: syntax, unknown names, wrong values, contradictions of form, or a failing test of the file.
    """
    document = read(source, name)
    model = _validated(document)
    if document.faults or model is None:
        raise PolicyFaults(document.faults)
    ir = _to_ir(model, document, policy_hash(source))
    _check_zones(model, document)
    if not document.faults:
        for result in run_tests(ir):
            if not result.passed:
                index = next(i for i, test in enumerate(ir.tests) if test is result.test)
                document.fault(document.where(("tests", index)), ("tests", index), result.got, result.expected)
    if document.faults:
        raise PolicyFaults(document.faults)
    return ir


def load_policy_file(path: Path) -> PolicyIR:
    """`load_policy` of a file; raises OSError where it cannot be read."""
    return load_policy(path.read_bytes(), str(path))


def _validated(document: Document) -> PolicyModel | None:
    if not isinstance(document.data, dict):
        if not document.faults:
            document.fault((1, 1), (), describe(document.data), "a mapping")
        return None
    _check_structure(document.data, document)
    try:
        return PolicyModel.model_validate(document.data, context=context_of(document.data))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _add_fault(document, detail)
        return None


def _add_fault(document: Document, detail: ErrorDetails) -> None:
    place = _place(document, detail["loc"])
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = _known_keys(place[:-1])
            document.fault(
                document.keys.get(place, document.where(place)),
                place,
                f"the unknown key {place[-1]}",
                f"one of {', '.join(known)}",
                nearest_of(place[-1], known),
            )
        case "missing":
            missing = (*place, str(detail["loc"][-1]))
            document.fault(document.where(place), missing, "nothing", "a value")
        case "sekisho":
            position = document.keys[place] if detail["loc"][-1] == "[key]" else document.where(place)
            document.fault(
                position, place, describe(detail["input"]), str(context["expected"]), str(context["nearest"])
            )
        case "literal_error":
            document.fault(document.where(place), place, describe(detail["input"]), str(context["expected"]))
        case kind:
            document.fault(document.where(place), place, describe(detail["input"]), _EXPECTED.get(kind, detail["msg"]))


def _place(document: Document, loc: tuple[str | int, ...]) -> Place:
    """The path in the file of pydantic's location: parts that only the models know (shorthands) are left out."""
    place: Place = ()
    for part in loc:
        longer = (*place, part)
        if longer in document.values or longer in document.keys:
            place = longer
    return place


def _known_keys(place: Place) -> tuple[str, ...]:
    """The keys that may stand at a place of the file."""
    names = [part for part in place if isinstance(part, str)]
    if not names:
        return tuple(PolicyModel.model_fields)
    last = names[-1]
    if last in CATALOGUE:
        return OPERATORS[CATALOGUE[last].kind]
    if last in ("when", "unless"):
        return NAMEABLE
    if names[0] == "bundles":
        return (*NAMEABLE, "advice")
    if last == "require":
        return (*NAMEABLE, "bundle", "advice")
    if last == "given" or names[0] == "samples":
        return (*CATALOGUE, "sample")
    if last == "obligations":
        return ("log", "session_max")
    model = _SECTIONS.get(last)
    return tuple(model.model_fields) if model is not None else ()


def describe(value: object) -> str:
    """What stands in the file, in a fault's words; long values are cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = str(value)
    return f'"{text[: TEXT_SHOWN - 1]}…"' if len(text) > TEXT_SHOWN else f'"{text}"'


def _check_structure(data: dict[str, Any], document: Document) -> None:
    """What belongs to which effect and mode, and ids that come twice."""
    seen: dict[object, int] = {}
    rules = data.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        place: Place = ("rules", index)
        for key, expected in _misplaced(rule):
            position = document.keys.get((*place, key), document.where(place))
            document.fault(position, (*place, key), describe(rule.get(key)), expected)
        identity = rule.get("id")
        if isinstance(identity, str):
            if identity in seen:
                document.fault(
                    document.where((*place, "id")),
                    (*place, "id"),
                    f'"{identity}" a second time',
                    f"an id of its own (first in rules[{seen[identity]}])",
                )
            seen.setdefault(identity, index)


def _misplaced(rule: dict[str, Any]) -> Iterator[tuple[str, str]]:
    waiting = rule.get("mode") in ("observe", "warn")
    if waiting and "expires" not in rule:
        yield "expires", f"a date: a rule in mode {rule['mode']} must end"
    if "expires" in rule and not waiting:
        yield "expires", "no expiry (only rules in mode observe or warn have one)"
    if rule.get("effect") == "deny":
        for key in ("require", "obligations"):
            if key in rule:
                yield key, f"no {key} in a deny rule (an exemption is written unless:)"
    if rule.get("effect") == "allow":
        if "unless" in rule:
            yield "unless", "no unless in an allow rule (write none_of, or a deny rule)"
        if rule.get("when") == {}:
            yield "when", "at least one condition: an allow rule says what it is about"


def _check_zones(model: PolicyModel, document: Document) -> None:
    """`internet` is what no zone holds, and one network is in one zone."""
    if "internet" in model.zones:
        document.fault(
            document.keys["zones", "internet"],
            ("zones", "internet"),
            "the zone internet",
            "another name: internet is every address that no zone holds",
        )
    seen: dict[str, str] = {}
    for zone, networks in model.zones.items():
        for index, network in enumerate(networks):
            if seen.setdefault(network, zone) != zone:
                place: Place = ("zones", zone, index)
                expected = f"a network of its own (it is in {seen[network]})"
                document.fault(document.where(place), place, f"{network} again", expected)


def _to_ir(model: PolicyModel, document: Document, digest: str) -> PolicyIR:
    rules = [_rule(model, item, document.where(("rules", index))[0]) for index, item in enumerate(model.rules)]
    return PolicyIR(
        hash=digest,
        id=model.metadata.id,
        revision=model.metadata.revision,
        title=model.metadata.title,
        owner=model.metadata.owner,
        zones=tuple((zone, tuple(networks)) for zone, networks in sorted(model.zones.items())),
        groups=tuple(sorted(model.groups.items())),
        posture=PostureLimits(
            model.posture.read_max, model.posture.seen_max, tuple(sorted(model.posture.grace.items()))
        ),
        rules=tuple(sorted(rules, key=lambda rule: rule.id)),
        tests=tuple(_test(model, item, document.where(("tests", index))[0]) for index, item in enumerate(model.tests)),
    )


def _rule(model: PolicyModel, item: RuleModel, line: int) -> Rule:
    require: list[Condition] = []
    for part in item.require:
        require.extend(_conditions(part, part.advice))
        for member in model.bundles.get(part.bundle, []):
            require.extend(_conditions(member, member.advice or part.advice))
    return Rule(
        id=item.id,
        effect=Effect(item.effect),
        description=item.description,
        owner=item.owner,
        mode=Mode(item.mode),
        expires=item.expires,
        when=tuple(_conditions(item.when, "")),
        require=tuple(dict.fromkeys(require)),
        unless=tuple(_conditions(item.unless, "")) if item.unless is not None else (),
        advice=item.advice,
        obligations=tuple(_obligations(item)),
        line=line,
    )


def _conditions(part: Any, advice: str) -> Iterator[Condition]:
    """The leaves of one mapping of conditions, in the catalogue's order."""
    for name in NAMEABLE:
        value = getattr(part, name.replace(".", "_"))
        if isinstance(value, bool):
            yield Condition(name, "is", (value,), advice)
        elif value is not None:
            for operator in OPERATORS[CATALOGUE[name].kind]:
                operand = getattr(value, operator)
                if operand is not None:
                    yield Condition(name, operator, _values(operator, operand), advice)


def _values(operator: str, operand: Any) -> tuple[Any, ...]:
    if operator == "between":
        return tuple(operand)
    return tuple(sorted(set(operand))) if isinstance(operand, list) else (operand,)


def _obligations(item: RuleModel) -> Iterator[Obligation]:
    for part in item.obligations:
        if part.log:
            yield Obligation("log", part.log)
        if part.session_max is not None:
            yield Obligation("session_max", str(int(part.session_max)))


def _test(model: PolicyModel, item: TestModel, line: int) -> PolicyTest:
    facts: dict[str, Any] = {}
    for part in (*(model.samples[name] for name in item.given.sample), item.given):
        for name, attribute in CATALOGUE.items():
            field = name.replace(".", "_")
            if field in part.model_fields_set:
                value = getattr(part, field)
                facts[name] = frozenset(value) if attribute.kind is Kind.SET and value is not None else value
    stated = tuple(sorted((name, value) for name, value in facts.items() if value is not None))
    return PolicyTest(item.name, stated, Effect(item.expect.effect), item.expect.rule, item.expect.reason, line)
