"""Tables and descriptions for people. Cells are text objects, never markup.

A table is made for 80 columns and wider; where its columns would become unreadably narrow, its rows are descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.language import t
from cli.render.cells import plain, visible

if TYPE_CHECKING:
    from rich.table import Table

Format = Callable[[Any], str]

_GAP: Final = 2  # cells between two columns
_NARROWEST: Final = 8  # cells of a column that folds: four characters of Japanese


@dataclass(frozen=True, slots=True)
class Column:
    """One column: key of the row, titles, and how a value is shown. `keep` = never cut or folded."""

    key: str
    ja: str
    en: str
    show: Format = plain
    keep: bool = False


def _cell(column: Column, value: Any) -> str:
    if isinstance(value, bool) and column.show is plain:
        return t("はい", "yes") if value else t("いいえ", "no")
    return visible(column.show(value))


def fits(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], width: int) -> bool:
    """Whether a table of these rows stays readable in `width` cells: a column that folds keeps 8 of them."""
    from rich.cells import cell_len

    widest = [cell_len(t(column.ja, column.en)) for column in columns]
    for row in rows:
        lengths = [cell_len(_cell(column, row.get(column.key))) for column in columns]
        widest = [max(pair) for pair in zip(widest, lengths, strict=True)]
    least = [length if column.keep else min(length, _NARROWEST) for column, length in zip(columns, widest, strict=True)]
    return sum(least) + _GAP * (len(columns) - 1) <= width


def listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int) -> Table:
    """A table where one fits in `width` cells, else one description below another, a blank line between."""
    if fits(rows, columns, width):
        return table(rows, columns)
    from rich.table import Table

    made = Table.grid()
    for number, row in enumerate(rows):
        if number:
            made.add_row("")
        made.add_row(description({column.key: row.get(column.key) for column in columns}, columns))
    return made


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """A table that folds long cells instead of cutting them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # Two cells between columns, not three: with six columns the three saved are a name that stays in one line.
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(Text(t(column.ja, column.en)), overflow="fold", no_wrap=column.keep)
    for row in rows:
        made.add_row(*(Text(_cell(column, row.get(column.key))) for column in columns))
    return made


def description(row: Mapping[str, Any], columns: Sequence[Column] = ()) -> Table:
    """One thing, a line for each field; titles from `columns`, others by their key."""
    from rich.table import Table
    from rich.text import Text

    known = {column.key: column for column in columns}
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for key, value in row.items():
        column = known.get(key, Column(key, key, key))
        made.add_row(Text(t(column.ja, column.en), style="bold"), Text(_cell(column, value)))
    return made
