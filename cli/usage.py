"""What a person is told who typed a command wrongly: what it is about, what came, what was expected, an example."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

from cli.language import t

_UNKNOWN_COMMAND: Final = re.compile(r"No such command (?P<quote>['\"])(?P<got>.*?)(?P=quote)\.")
_TOO_MANY: Final = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<got>.*)\)")
_SORTS: Final = {
    "int": ("整数", "a whole number"),
    "float": ("数", "a number"),
    "bool": ("true か false", "true or false"),
}


def explain(error: Any) -> tuple[str, list[str]]:
    """Return the headline and the lines below it for a usage error of the parser.

    `error` is the parser's exception; its kind is told by the attributes it has, because its classes have no public
    name. One without a known kind keeps its own words.
    """
    context = error.ctx
    if context is None:
        return error.format_message(), []
    command = context.command
    parameter = getattr(error, "param", None)
    if parameter is not None:
        told = _missing(parameter) if type(error).__name__ == "MissingParameter" else _unreadable(error, parameter)
        wanted = [parameter]
    elif getattr(error, "option_name", ""):
        told, wanted = _option(error, command)
    elif unknown := _UNKNOWN_COMMAND.match(error.message):
        return _finished(_unknown_command(unknown["got"], command), context, _first(unknown["got"], command))
    elif extra := _TOO_MANY.match(error.message):
        head = t(f"余分な引数があります: {extra['got']}", f"one argument too many: {extra['got']}")
        expected = " ".join(_placeholder(p) for p in command.params if p.param_type_name == "argument")
        told, wanted = (head, [_expected(expected or t("引数なし", "no argument"))]), []
    elif error.message == "Missing command.":
        names = list(command.commands)
        head = t("コマンドがありません。", "the command is missing.")
        return _finished((head, [_choices((), names)]), context, names[0])
    else:
        told, wanted = (error.format_message(), []), []
    return _finished(told, context, _example(command, wanted))


def _finished(told: tuple[str, list[str]], context: Any, example: str) -> tuple[str, list[str]]:
    head, lines = told
    path = context.command_path
    ways = [t(f"例: {path} {example}", f"example: {path} {example}").rstrip()]
    ways.append(t(f"説明: {path} {context.help_option_names[0]}", f"help: {path} {context.help_option_names[0]}"))
    return f"{path}: {head}", [*lines, *ways]


def _missing(parameter: Any) -> tuple[str, list[str]]:
    name = _name(parameter)
    meaning = [_expected(_meaning(parameter))] if _meaning(parameter) else []
    return t(f"{name} がありません。", f"{name} is missing."), meaning


def _unreadable(error: Any, parameter: Any) -> tuple[str, list[str]]:
    """Return what to say of a value that is not of the option's kind; the value stands in the parser's cause."""
    name = _name(parameter)
    cause = error.__cause__
    found = cause.errors() if hasattr(cause, "errors") else []
    lines = [t(f"指定: {fault['input']}", f"got: {fault['input']}") for fault in found[:1]]
    kind = _kind(parameter)
    lines.append(_expected(kind or error.message))
    return t(f"{name} の値が正しくありません。", f"the value of {name} is not right."), lines


def _option(error: Any, command: Any) -> tuple[tuple[str, list[str]], list[Any]]:
    """Return what to say of an option that is not there, or has no value, and the parameter an example should show."""
    name = error.option_name
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    known = {option: parameter for parameter in options for option in parameter.opts}
    if name in known:
        parameter = known[name]
        if getattr(parameter, "is_flag", False):
            return (t(f"{name} に値は付けられません。", f"{name} takes no value."), []), [parameter]
        kind = _kind(parameter) or _meaning(parameter)
        return (t(f"{name} の値がありません。", f"the value of {name} is missing."), [_expected(kind)]), [parameter]
    near = get_close_matches(name, known)
    head = t(f"{name} というオプションはありません。", f"there is no option {name}.")
    return (head, [_choices(near, [max(one.opts, key=len) for one in options])]), [known[one] for one in near[:1]]


def _unknown_command(got: str, command: Any) -> tuple[str, list[str]]:
    head = t(f"{got} というコマンドはありません。", f"there is no command {got}.")
    return head, [_choices(get_close_matches(got, command.commands), command.commands)]


def _first(got: str, command: Any) -> str:
    return str((get_close_matches(got, command.commands) or list(command.commands))[0])


def _example(command: Any, wanted: Iterable[Any]) -> str:
    """Return what follows the command in a call that would be understood: all it needs, and `wanted`."""
    shown = list(wanted)
    needed = [p for p in command.params if p.required or any(p is one for one in shown)]
    words = [_placeholder(p) for p in needed if p.param_type_name == "argument"]
    for parameter in needed:
        if parameter.param_type_name == "option":
            name = max(parameter.opts, key=len)
            words.append(name if getattr(parameter, "is_flag", False) else f"{name} {_placeholder(parameter)}")
    if hasattr(command, "commands"):
        words.append(next(iter(command.commands)))
    return " ".join(words)


def _placeholder(parameter: Any) -> str:
    """Return a value as it could stand there: a choice, a number, else the option's meaning as one word."""
    descriptor = parameter.type_descriptor
    if descriptor.is_choice and descriptor.choices:
        return str(getattr(descriptor.choices[0], "value", descriptor.choices[0]))
    if getattr(descriptor.annotation, "__name__", "") in {"int", "float"}:
        return "10"
    word = re.split(r"[ (、,|]", _meaning(parameter), maxsplit=1)[0]
    return word or str(parameter.name).upper()


def _kind(parameter: Any) -> str:
    descriptor = parameter.type_descriptor
    if descriptor.is_choice and descriptor.choices:
        return _list(str(getattr(choice, "value", choice)) for choice in descriptor.choices)
    pair = _SORTS.get(getattr(descriptor.annotation, "__name__", ""))
    return t(*pair) if pair else ""


def _meaning(parameter: Any) -> str:
    return str(getattr(parameter, "help", "") or "")


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return t("引数 ", "the argument ") + str(parameter.metavar or parameter.name).strip("[]")


def _expected(text: str) -> str:
    return t(f"正しい形: {text}", f"expected: {text}")


def _choices(near: Iterable[str], every: Iterable[str]) -> str:
    """Return the names that were perhaps meant, else all there are."""
    if meant := _list(near):
        return t(f"近いもの: {meant}", f"did you mean: {meant}")
    return t(f"使えるもの: {_list(every)}", f"there are: {_list(every)}")


def _list(names: Iterable[str]) -> str:
    return t("、", ", ").join(names)
