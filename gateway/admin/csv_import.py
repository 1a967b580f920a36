"""CSV of people → rows to create, with every fault by line. Pure: bytes in, plan out.

Spreadsheets in Japan save UTF-8 with BOM or CP932; both are read. The first line names the columns, in English or
Japanese. Nothing is created while one line has a fault.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from gateway.admin.users import AddUser, contract_end

_COLUMNS: Mapping[str, str] = {
    "職員ID": "login",
    "職員id": "login",
    "login": "login",
    "氏名": "name",
    "name": "name",
    "メール": "email",
    "メールアドレス": "email",
    "email": "email",
    "所属": "department",
    "department": "department",
    "グループ": "groups",
    "groups": "groups",
    "区分": "kind",
    "kind": "kind",
    "役割": "roles",
    "roles": "roles",
    "任期": "contract_end",
    "契約終了日": "contract_end",
    "contract_end": "contract_end",
    "言語": "language",
    "language": "language",
}
_KINDS: Mapping[str, str] = {"職員": "staff", "会計年度任用職員": "fixed_term", "委託": "contractor", "": "staff"}
_MOST_ROWS = 5000
_EXPECTED: Mapping[str, str] = {
    "login": "半角の英数字と . _ - @ で64文字まで",
    "name": "1〜80文字",
    "email": "メールアドレス、または空",
    "department": "80文字まで",
    "groups": "半角小文字の英数字と . _ - (空白区切り)",
    "kind": "職員、会計年度任用職員、委託 のいずれか",
    "roles": "ciso、audit、operator のいずれか (空白区切り)",
    "contract_end": "日付 (例 2027-03-31)、または空",
    "language": "ja、en、または空",
}


@dataclass(frozen=True, slots=True)
class LineFault:
    """One mistake of the file. Lines count from 1, the heading is line 1."""

    line: int
    column: str
    got: str
    expected: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the file asks for."""

    rows: tuple[AddUser, ...]
    faults: tuple[LineFault, ...]
    encoding: str


def read_people(data: bytes, taken: frozenset[str], reason: str) -> Plan:
    """Return the plan of the file; `taken` are logins that exist already."""
    try:
        text, encoding = decode(data)
    except UnicodeDecodeError:
        return Plan((), (LineFault(1, "", "unreadable bytes", "UTF-8 または CP932 (Shift_JIS)"),), "")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(lines, [])
        columns, faults = _columns(heading)
        rows: list[AddUser] = []
        if not faults:
            _read_rows(lines, columns, set(taken), reason, rows, faults)
    except csv.Error as error:
        return Plan((), (LineFault(lines.line_num, "", str(error), "RFC 4180 の CSV"),), encoding)
    return Plan(tuple(rows), tuple(faults), encoding)


def decode(data: bytes) -> tuple[str, str]:
    """The text of a spreadsheet's CSV and its encoding; raises UnicodeDecodeError."""
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp932"), "cp932"


def _columns(heading: list[str]) -> tuple[list[str], list[LineFault]]:
    columns: list[str] = []
    faults: list[LineFault] = []
    for title in heading:
        name = _COLUMNS.get(title.strip(), "")
        if not name:
            faults.append(LineFault(1, title, title, "列名: " + "、".join(sorted(set(_COLUMNS.values())))))
        elif name in columns:
            faults.append(LineFault(1, title, "同じ列が二度", "各列は一度だけ"))
        columns.append(name)
    missing = [name for name in ("login", "name") if name not in columns]
    faults.extend(LineFault(1, name, "列がありません", f"列 {name}") for name in missing)
    return columns, faults


def _read_rows(
    lines: Iterable[list[str]],
    columns: list[str],
    taken: set[str],
    reason: str,
    rows: list[AddUser],
    faults: list[LineFault],
) -> None:
    for number, cells in enumerate(lines, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(rows) >= _MOST_ROWS:
            faults.append(LineFault(number, "", "行が多すぎます", f"{_MOST_ROWS} 行まで"))
            return
        if len(cells) != len(columns):
            faults.append(LineFault(number, "", f"{len(cells)} 列", f"{len(columns)} 列"))
            continue
        row = _row(number, dict(zip(columns, (cell.strip() for cell in cells), strict=True)), reason, faults)
        if row is None:
            continue
        if row.login in taken:
            faults.append(LineFault(number, "login", row.login, "まだ登録されていない職員ID"))
            continue
        taken.add(row.login)
        rows.append(row)


def _row(number: int, cells: dict[str, str], reason: str, faults: list[LineFault]) -> AddUser | None:
    kind = cells.get("kind", "")
    given: dict[str, object] = {
        **cells,
        "groups": _several(cells.get("groups", "")),
        "roles": _several(cells.get("roles", "")),
        "kind": _KINDS.get(kind, kind),
        "contract_end": cells.get("contract_end", "").replace("/", "-"),
        "reason": reason,
    }
    try:
        row = AddUser.model_validate(given)
        contract_end(row.contract_end)
    except ValidationError as error:
        faults.extend(
            LineFault(number, column, cells.get(column, ""), _EXPECTED.get(column, item["msg"]))
            for item in error.errors(include_url=False)
            for column in (str(item["loc"][0]),)
        )
        return None
    except ValueError:
        faults.append(LineFault(number, "contract_end", cells["contract_end"], "実在する日付 (例 2027-03-31)"))
        return None
    return row


def _several(cell: str) -> list[str]:
    return [part.strip() for part in cell.replace(";", " ").replace("、", " ").split() if part.strip()]
