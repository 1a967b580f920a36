"""`sekisho events`: the trail. Every search is itself recorded by the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.call import Call, Output
from cli.client import segment
from cli.command import lists, shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import clock, parse_moment
from cli.render import trail
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("記録の検索", "the trail"))


class Ended(StrEnum):
    """How an act ended, as `event.outcome` says it."""

    SUCCESS = "success"
    FAILURE = "failure"


class Source(StrEnum):
    """Who answers a search; all give the same answers."""

    INDEX = "index"
    JOURNALS = "journals"
    ELASTICSEARCH = "elasticsearch"


COLUMNS = (
    Column("@timestamp", "時刻", "time", clock, keep=True),
    Column("who", "だれ", "who"),
    Column("happening", "出来事", "what"),
    Column("subject", "対象", "of"),
    Column("why", "理由", "why"),
    Column("reference", "受付番号", "reference", keep=True),
)
STORY = (
    Column("@timestamp", "時刻", "time", clock), Column("who", "だれ", "who"), Column("act", "出来事", "action"),
    Column("subject", "対象", "of"), Column("result", "結果", "result"), Column("why", "理由", "why"),
    Column("rule.id", "規則", "rule"), Column("from", "接続元", "from"), Column("device", "端末", "device"),
    Column("reference", "受付番号", "reference"),
)  # fmt: skip
_EMPTY = t("該当する記録はありません。--since で期間を広げてください。", "no records; widen --since.")
_SUGGESTED = 5  # field names at most
Since = Annotated[str, typer.Option("--since", help=t("24h、RFC 3339、令和8年11月22日", "24h, RFC 3339, 令和8年…"))]
Until = Annotated[str, typer.Option("--until", help=t("この時刻まで", "until"))]
Action = Annotated[str, typer.Option("--action", help=t("出来事 (例 session.ended)", "event.action"))]
By = Annotated[list[str] | None, typer.Option("--by", help=t("この項目ごとに (4つまで)", "per field, up to 4"))]
Filter = Annotated[list[str] | None, typer.Argument(help=t("項目=値 (複数可)、または語", "field=value, or a word"))]
User = Annotated[str, typer.Option("--user", help=t("職員ID", "login"))]
AppName = Annotated[str, typer.Option("--app", help=t("アプリID", "app id"))]
SourceName = Annotated[
    Source, typer.Option("--from", help=t("どこに尋ねるか (答えは同じ)", "whom to ask; the answers are the same"))
]
Outcome = Annotated[Ended | None, typer.Option("--outcome", help=t("成功か失敗か", "success or failure"))]


@lists(group, "search", "記録を検索", "search the trail")
def search(
    call: Call,
    terms: Filter = None,
    since: Since = "24h",
    until: Until = "",
    user: User = "",
    app: AppName = "",
    outcome: Outcome = None,
    action: Action = "",
    oldest: Annotated[bool, typer.Option("--oldest", help=t("古い順", "oldest first"))] = False,
    source: SourceName = Source.INDEX,
    exit_code: Annotated[bool, typer.Option("--exit-code", help=t("見つかれば 8", "8 if found"))] = False,
) -> None:
    """Search."""
    body = _query(call, terms or [], since, {"user.name": user, "sekisho.app.id": app, "event.outcome": outcome or "",
                                             "event.action": action})  # fmt: skip
    body |= {"until": _moment(call, "--until", until), "limit": call.limit, "order": "oldest" if oldest else "newest"}
    body |= {"source": source}
    records = call.client().stream("/v1/events/search", body)
    if call.output is Output.NDJSON and not call.fields:
        count = call.stream(records)
    else:
        rows = [seen(record) for record in records] if call.output is Output.TABLE else list(records)
        call.rows(rows, COLUMNS, _EMPTY)
        count = len(rows)
    if exit_code and count:
        raise typer.Exit(ExitCode.FINDINGS)


@lists(group, "count", "記録を数える", "count records by field")
def count(
    call: Call,
    terms: Filter = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help=t("この項目ごとに (4つまで)", "per field, up to 4"))
    ] = None,
    since: Since = "7d",
    until: Until = "",
    user: User = "",
    app: AppName = "",
    outcome: Outcome = None,
    action: Action = "",
    source: SourceName = Source.INDEX,
) -> None:
    """Count."""
    fields = [_known(name) for name in by or ()]
    body = _query(call, terms or [], since, {"user.name": user, "sekisho.app.id": app, "event.outcome": outcome or "",
                                             "event.action": action})  # fmt: skip
    body |= {"until": _moment(call, "--until", until), "limit": call.limit, "by": fields, "source": source}
    rows = [
        dict(zip(fields, row["values"], strict=True)) | {"count": row["count"]}
        for row in call.client().stream("/v1/events/count", body)
    ]
    columns = (*(Column(name, name, name) for name in fields), Column("count", "件数", "records", keep=True))
    call.rows(
        rows, columns, t("該当する記録はありません。--since で期間を広げてください。", "no records; widen --since.")
    )


@shows(group, "tail", "記録を流し続ける (Ctrl-C で終了)", "follow the trail; Ctrl-C ends")
def tail(
    call: Call,
    terms: Filter = None,
    user: User = "",
    app: AppName = "",
    outcome: Outcome = None,
) -> None:
    """Follow."""
    filters = {"user.name": user, "sekisho.app.id": app, "event.outcome": outcome or ""}
    body = _query(call, terms or [], "", filters)
    records = call.client().stream("/v1/events/tail", body, endless=True)
    if call.output is Output.TABLE:
        call.lines(_lines(records))
    else:
        call.stream(records)


@shows(group, "show", "受付番号の記録 (最初に要約、続いて全項目)", "the records of one reference: in short, then whole")
def show(call: Call, reference: Annotated[str, typer.Argument(help=t("受付番号", "reference"))]) -> None:
    """Show one request."""
    answer = call.client().get(f"/v1/events/{segment(reference)}")
    if call.output is not Output.TABLE:
        call.rows(answer["items"], (), "")
        return
    for record in answer["items"]:
        call.one(_told(record) | {"": ""} | record, STORY)


def _query(call: Call, terms: list[str], since: str, options: dict[str, str]) -> dict[str, Any]:
    filters = {name: value for name, value in options.items() if value}
    words: list[str] = []
    for term in terms:
        name, equals, value = term.partition("=")
        if equals and name in filters:
            raise Failure(ExitCode.USAGE, t(f"{name} が二度指定されています。", f"{name} is given twice."))
        if equals and name:
            filters[_known(name)] = value
        else:
            words.append(term)
    if len(words) > 1:
        raise Failure(ExitCode.USAGE, t("語は一つだけ指定できます。", "one word at most."))
    return {"since": _moment(call, "--since", since), "filters": filters, "text": words[0] if words else ""}


def _known(name: str) -> str:
    """Return the field's name; raises Failure where records have no such field: nothing would ever be found."""
    from audit.ecs import FIELDS

    if name in FIELDS:
        return name
    parts = [field for field in FIELDS if field.startswith(f"{name}.") or field.endswith(f".{name}")]
    near = parts[:_SUGGESTED] or get_close_matches(name, FIELDS)
    perhaps = t(f"近いもの: {'、'.join(near)}", f"did you mean: {', '.join(near)}") if near else ""
    message = t(f"{name} という項目は記録にありません。", f"records have no field {name}.")
    raise Failure(ExitCode.USAGE, message, [perhaps] if perhaps else [])


def _moment(call: Call, option: str, text: str) -> float | None:
    try:
        return parse_moment(text, call.now) if text else None
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"{option}: {error}") from error


def seen(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with what tables show of it."""
    return {
        **record, "who": trail.who(record), "happening": trail.happening(record), "act": trail.action(record),
        "subject": trail.subject(record), "result": trail.outcome(record), "why": trail.why(record),
        "reference": trail.reference(record),
    }  # fmt: skip


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """The story of one record first, then every field as it is kept."""
    zone = str(record.get("sekisho.zone") or "")
    place = " ".join(filter(None, (str(record.get("source.ip") or ""), f"({zone})" if zone else "")))
    row = {"@timestamp": record.get("@timestamp"), **seen(record), "from": place, "device": record.get("device.id")}
    return {column.key: row.get(column.key) for column in STORY if row.get(column.key)}


def _lines(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        row = seen(record)
        parts = (clock(record.get("@timestamp")), row["result"], row["who"], row["act"], row["subject"], row["why"],
                 row["reference"])  # fmt: skip
        yield " ".join(str(part) for part in parts if part)
