"""Tables and descriptions for people, 80 columns and wider. Cells are text objects, never markup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.language import t
from cli.render.cells import plain, visible

if TYPE_CHECKING:
    from rich.table import Table

Format = Callable[[Any], str]


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
