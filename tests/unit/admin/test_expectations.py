"""Arguments that are not what they should be, told in Japanese: each kind of fault that models find."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.admin.expectations import expected


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Model(BaseModel):
    """An argument of each kind."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(ge=1, le=9)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    name: Annotated[str, Field(min_length=2, max_length=4)] = "ab"
    hash: Annotated[str, Field(pattern="^[0-9]+$")] = "1"
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    names: Annotated[list[str], Field(min_length=1, max_length=2)] = ["x"]
    flag: bool = False
    words: dict[str, str] = {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"number": 0}, "1 以上"), ({"number": 10}, "9 以下"), ({"number": "x"}, "整数"), ({"number": 1.5}, "整数"),
        ({"number": None}, "整数"), ({"share": 0}, "0.0 より大きい数"), ({"share": 1}, "1.0 未満"),
        ({"share": "x"}, "数"), ({"share": None}, "数"), ({"name": "a"}, "2 文字以上"),
        ({"name": "abcde"}, "4 文字以下"),
        ({"name": 1}, "文字列"), ({"hash": "x"}, "次の形: ^[0-9]+$"), ({"kind": "c"}, "'a'、'b'"),
        ({"colour": "green"}, "'red'、'blue'"), ({"names": []}, "1 件以上"), ({"names": ["a", "b", "c"]}, "2 件以下"),
        ({"names": 1}, "一覧"), ({"flag": "maybe"}, "true か false"), ({"flag": None}, "true か false"),
        ({"words": 1}, "項目と値の組"), ({"other": 1}, "この項目はありません"),
    ],
)  # fmt: skip
def test_each_fault_says_what_was_expected(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as found:
        Model.model_validate(given)
    (fault,) = found.value.errors(include_url=False, include_input=False)
    assert expected(fault) == words


def test_a_fault_without_words_keeps_its_own() -> None:
    assert expected({"type": "date_parsing", "msg": "its own words"}) == "its own words"
    assert re.search("[{}]", expected({"type": "missing", "msg": ""})) is None
