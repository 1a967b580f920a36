"""The policy file as pydantic models: one condition model an attribute, so that a value can only be what it means.

Names that the file itself declares (zones, groups, bundles, samples, rules) are checked here too, from the validation
context, so that all faults of a file come out of one pass. Every fault of our own carries `expected` and `nearest`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationInfo, create_model
from pydantic_core import PydanticCustomError

from policies.catalogue import CATALOGUE, INTERNET, NAMEABLE, OPERATORS, Attribute, Kind
from policies.evaluate import version_key
from policies.obligations import LOG_LEVELS
from policies.reasons import Reason
from policies.units import parse_clock, parse_duration, parse_instant
from policies.zones import parse_network

GRACE_MAX: Final = 86400.0
READ_MAX: Final = 3600.0
SEEN_MAX: Final = 7 * 86400.0
_MODES: Final = ("enforce", "shadow", "observe", "warn")
_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class Strict(BaseModel):
    """Unknown keys are faults; values are never coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def wrong(expected: str, nearest: str = "") -> PydanticCustomError:
    """A fault of our own: what was expected, and the spelling that was probably meant."""
    return PydanticCustomError("sekisho", "expected {expected}", {"expected": expected, "nearest": nearest})


def nearest_of(text: object, candidates: Iterable[str]) -> str:
    """The candidate closest to `text`, or "" when none is close."""
    found = difflib.get_close_matches(str(text), list(candidates), n=1, cutoff=0.6)
    return found[0] if found else ""


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise wrong("text")
    return str(value)


def _choice(value: object, *, choices: tuple[str, ...]) -> str:
    text = _text(value)
    if text not in choices:
        raise wrong(f"one of {', '.join(choices)}", nearest_of(text, choices))
    return text


def _declared(value: object, info: ValidationInfo, *, what: str) -> str:
    """A name that the same file must declare; groups are free where the file declares none."""
    text = _text(value)
    names: frozenset[str] | None = info.context[what] if info.context else None
    if names is not None and text not in names:
        raise wrong(f"a name declared under {what} ({', '.join(sorted(names)) or 'none is'})", nearest_of(text, names))
    return text


def _parsed(value: object, *, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(_text(value))
    except ValueError as error:
        raise wrong(str(error)) from error


def _path(value: object, *, template: bool) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise wrong("a path beginning with /", "/" + text)
    segments = text[1:].split("/") if text != "/" else []
    if any(part in ("", ".", "..") for part in segments[:-1]) or (segments and segments[-1] in (".", "..")):
        raise wrong("a path without empty or dot segments")
    if any(sign in text for sign in "?#%\\;") or not text.isprintable():
        raise wrong("a decoded path without ? # % \\ ; or control characters")
    if any("*" in part and (not template or part != "*") for part in segments):
        raise wrong("* only as a whole segment of a template" if template else "no * (use template:)")
    return text


def _prefix(value: object) -> str:
    text = _path(value, template=False)
    return text.rstrip("/") or "/"


def _version(value: object) -> str:
    text = _text(value)
    if version_key(text) is None:
        raise wrong("dotted numbers such as 10.0.22631 (in quotes)")
    return text


def _network(value: object) -> str:
    text = _text(value)
    try:
        parse_network(text)
    except ValueError as error:
        raise wrong(f"a network such as 10.0.0.0/8 ({error})") from error
    return text


def _bounded(value: object, *, most: float, writing: str) -> float:
    seconds: float = _parsed(value, parse=parse_duration)
    if seconds > most:
        raise wrong(f"at most {writing}")
    return seconds


Duration = Annotated[float, BeforeValidator(partial(_parsed, parse=parse_duration))]
Text = Annotated[str, BeforeValidator(_text)]
Identifier = Annotated[str, BeforeValidator(_text), Field(pattern=_ID)]


_annotated: Any = Annotated  # as plain values: these types are computed from the catalogue
_list: Any = list


def value_type(attribute: Attribute) -> Any:
    """The annotated type of one value of an attribute as a policy file writes it."""
    match attribute.kind:
        case Kind.BOOL:
            return StrictBool
        case Kind.CHOICE | Kind.ORDERED:
            return _annotated[str, BeforeValidator(partial(_choice, choices=attribute.choices))]
        case Kind.DURATION:
            return Duration
        case Kind.CLOCK:
            return _annotated[int, BeforeValidator(partial(_parsed, parse=parse_clock))]
        case Kind.INSTANT:
            return _annotated[float, BeforeValidator(partial(_parsed, parse=parse_instant))]
        case Kind.VERSION:
            return _annotated[str, BeforeValidator(_version)]
        case Kind.PATH:
            return _annotated[str, BeforeValidator(partial(_path, template=False))]
        case Kind.TEXT | Kind.SET:
            what = {"net.zone": "zones", "user.groups": "groups"}.get(attribute.name)
            return Text if what is None else _annotated[str, BeforeValidator(partial(_declared, what=what))]


def _operand(attribute: Attribute, operator: str) -> Any:
    value = value_type(attribute)
    if operator in ("min", "max"):
        return value
    if operator == "between":
        return _annotated[_list[value], Field(min_length=2, max_length=2)]
    if operator == "under":
        value = _annotated[str, BeforeValidator(_prefix)]
    elif operator == "template":
        value = _annotated[str, BeforeValidator(partial(_path, template=True))]
    return _annotated[_list[value], BeforeValidator(_listed), Field(min_length=1)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


def _shorthand(value: object) -> object:
    """`[a, b]` and `a` mean any_of."""
    return {"any_of": _listed(value)} if isinstance(value, list | str | int) and not isinstance(value, bool) else value


def _some_operator(value: object, *, operators: tuple[str, ...]) -> object:
    if isinstance(value, dict) and value:
        return value
    raise wrong(f"operators: {', '.join(operators)}")


def condition_type(attribute: Attribute) -> Any:
    """The model of all conditions on one attribute: its operators, each typed."""
    if attribute.kind is Kind.BOOL:
        return StrictBool
    operators = OPERATORS[attribute.kind]
    fields: dict[str, Any] = {name: (_operand(attribute, name), None) for name in operators}
    model = create_model(f"Condition[{attribute.name}]", __base__=Strict, **fields)
    checked = _annotated[model, BeforeValidator(partial(_some_operator, operators=operators))]
    return _annotated[checked, BeforeValidator(_shorthand)] if "any_of" in operators else checked


def fact_type(attribute: Attribute) -> Any:
    """The type of one fact in a test; null = missing."""
    value = value_type(attribute)
    return (_annotated[_list[value], BeforeValidator(_listed)] if attribute.kind is Kind.SET else value) | None


def _aliased(names: Iterable[str], type_of: Callable[[Attribute], Any]) -> dict[str, Any]:
    return {name.replace(".", "_"): (type_of(CATALOGUE[name]), Field(None, alias=name)) for name in names}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


When: Any = create_model("When", __base__=Strict, **_aliased(NAMEABLE, condition_type))
BundlePart: Any = create_model("BundlePart", __base__=When, advice=(Text, ""))
_BundleName = Annotated[str, BeforeValidator(partial(_declared, what="bundles"))]
Requirement: Any = create_model("Requirement", __base__=BundlePart, bundle=(_BundleName, ""))
Sample: Any = create_model("Sample", __base__=Strict, **_aliased(CATALOGUE, fact_type))
_SampleName = Annotated[str, BeforeValidator(partial(_declared, what="samples"))]
Given: Any = create_model(
    "Given",
    __base__=Sample,
    sample=(Annotated[list[_SampleName], BeforeValidator(_listed)], Field(default=[])),
)


class ObligationModel(Strict):
    """`log: full` or `session_max: 15m`."""

    log: Annotated[str, BeforeValidator(partial(_choice, choices=LOG_LEVELS))] = ""
    session_max: Duration | None = None


class RuleModel(Strict):
    """One rule of the file; what belongs to which effect is checked by `policies.load`."""

    id: Identifier
    effect: Annotated[str, BeforeValidator(partial(_choice, choices=("allow", "deny")))]
    description: Text = ""
    owner: Text = ""
    mode: Annotated[str, BeforeValidator(partial(_choice, choices=_MODES))] = "enforce"
    expires: Annotated[float, BeforeValidator(partial(_parsed, parse=parse_instant))] | None = None
    when: When
    require: Annotated[list[Requirement], BeforeValidator(_as_list)] = []
    unless: When | None = None
    advice: Text = ""
    obligations: Annotated[list[ObligationModel], BeforeValidator(_as_list)] = []


class ExpectModel(Strict):
    """What must come out of a test."""

    effect: Annotated[str, BeforeValidator(partial(_choice, choices=("allow", "deny")))]
    rule: Annotated[str, BeforeValidator(partial(_declared, what="rules"))] = ""
    reason: Annotated[str, BeforeValidator(partial(_choice, choices=tuple(Reason)))] = ""


class TestModel(Strict):
    """One test of the file."""

    name: Text
    given: Given
    expect: ExpectModel


class MetadataModel(Strict):
    """Who answers for the policy."""

    id: Identifier
    revision: Annotated[int, Field(ge=1)]
    title: Text
    owner: Text
    description: Text = ""


class PostureModel(Strict):
    """How old posture facts may be; see `policies.model.PostureLimits`."""

    read_max: Annotated[float, BeforeValidator(partial(_bounded, most=READ_MAX, writing="1h"))] = 900.0
    seen_max: Annotated[float, BeforeValidator(partial(_bounded, most=SEEN_MAX, writing="7d"))] = 86400.0
    grace: dict[
        Annotated[str, BeforeValidator(partial(_declared, what="zones"))],
        Annotated[float, BeforeValidator(partial(_bounded, most=GRACE_MAX, writing="24h"))],
    ] = {}


class PolicyModel(Strict):
    """The whole file."""

    version: Literal[1]
    metadata: MetadataModel
    zones: dict[Identifier, list[Annotated[str, BeforeValidator(_network)]]] = {}
    groups: dict[Identifier, Text] = {}
    posture: PostureModel = PostureModel()
    bundles: dict[Identifier, Annotated[list[BundlePart], BeforeValidator(_as_list), Field(min_length=1)]] = {}
    samples: dict[Identifier, Sample] = {}
    rules: Annotated[list[RuleModel], Field(min_length=1)]
    tests: list[TestModel] = []


def context_of(data: dict[str, Any]) -> dict[str, frozenset[str] | None]:
    """The names that a file declares, read leniently, so that references can be checked while the rest is."""

    def names(section: str) -> frozenset[str]:
        value = data.get(section)
        return frozenset(value) if isinstance(value, dict) else frozenset()

    rules = data.get("rules")
    ids = [rule.get("id") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return {
        "zones": names("zones") | {INTERNET},
        "groups": names("groups") if "groups" in data else None,
        "bundles": names("bundles"),
        "samples": names("samples"),
        "rules": frozenset(item for item in ids if isinstance(item, str)),
    }
