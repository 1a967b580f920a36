"""One run of one command: its shared options, where it talks to, and how it shows what came back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cli.client import AdminClient
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.place import Place
from cli.private_file import read_private
from cli.render.cells import visible
from cli.render.table import Column


class Output(StrEnum):
    """How data is written to standard output."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    YAML = "yaml"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Call:
    """The shared options of a command."""

    config: Path | None = None
    output: Output = Output.TABLE
    fields: tuple[str, ...] = ()
    limit: int = 1000
    pager: bool = True
    reason: str = ""
    ticket: str = ""
    dry_run: bool = False
    yes: bool = False
    now: float = 0.0

    @property
    def place(self) -> Place:
        """The installation."""
        return Place(self.config)

    def client(self) -> AdminClient:
        """The admin API with this person's token; raises Failure where there is none."""
        token = read_private(self.place.token_file())
        if token is None:
            raise Failure(ExitCode.SIGN_IN_NEEDED, t("サインインしてください: sekisho login", "sign in: sekisho login"))
        return AdminClient(self.place.socket(), token)

    def anonymous_client(self) -> AdminClient:
        """The admin API before sign-in."""
        return AdminClient(self.place.socket(), None)

    def change(self, *, dry_run: bool | None = None) -> dict[str, Any]:
        """The part of a command's body that every change has."""
        return {"reason": self.reason, "ticket": self.ticket, "dry_run": self.dry_run if dry_run is None else dry_run}

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str, total: int = 0) -> None:
        """Show a list. An empty one says on standard error what to do next."""
        if not rows:
            tell(empty)
        for name in self.fields if rows else ():
            if not any(name in row for row in rows):
                there = ", ".join(dict.fromkeys(key for row in rows for key in row))
                tell(t(f"{name} という項目はどの行にもありません。ある項目: {there}",
                       f"no row has the field {name}; there are: {there}"))  # fmt: skip
        chosen = [{name: row.get(name) for name in self.fields} for row in rows] if self.fields else list(rows)
        if self.output is Output.TABLE:
            if rows:
                self._table(chosen, [c for c in columns if not self.fields or c.key in self.fields])
        else:
            self._write(_document(self.output, chosen, self.fields))
        if total > len(rows):
            tell(t(f"全 {total} 件中 {len(rows)} 件を表示 (--limit)", f"{len(rows)} of {total} shown (--limit)"))

    def one(self, row: Mapping[str, Any], columns: Sequence[Column] = ()) -> None:
        """Show one thing."""
        chosen = {name: row.get(name) for name in self.fields} if self.fields else dict(row)
        if self.output is Output.TABLE:
            from cli.render.table import description

            self._print(description(chosen, columns))
        elif self.output is Output.JSON:
            from cli.render.documents import as_json

            self._write(as_json(chosen))
        else:
            self._write(_document(self.output, [chosen], self.fields, single=True))

    def stream(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Write records as they arrive, one JSON text a line; returns how many."""
        from cli.render.documents import ndjson_line

        count = 0
        for record in records:
            self._write(ndjson_line(record))
            count += 1
        return count

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines for people as they arrive."""
        for line in lines:
            self._write(visible(line) + "\n")

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        from rich.console import Console

        from cli.render.table import listing

        given = {column.key for column in columns}
        extra = [Column(name, name, name) for name in self.fields if name not in given]
        width = Console().width
        self._print(listing(rows, [*columns, *extra], width), length=len(rows))

    def _print(self, renderable: Any, length: int = 0) -> None:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=False)
        if self.pager and console.is_terminal and length > console.height - 4:
            with console.pager(styles=False):
                console.print(renderable)
        else:
            console.print(renderable)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def tell(message: str, lines: Sequence[str] = ()) -> None:
    """Say something to the person (standard error)."""
    for line in message.split("\n"):
        print(visible(line), file=sys.stderr)
    for line in lines:
        print("  " + visible(line), file=sys.stderr)


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def _document(output: Output, rows: Sequence[Mapping[str, Any]], fields: Sequence[str], *, single: bool = False) -> str:
    from cli.render import documents

    value: object = rows[0] if single else list(rows)
    if output is Output.JSON:
        return documents.as_json(value)
    if output is Output.YAML:
        return documents.as_yaml(value)
    if output is Output.CSV:
        return documents.as_csv(rows, fields)
    return documents.as_ndjson(rows)
