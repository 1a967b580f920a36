"""`sekisho devices crl`: the revocation lists of the authorities that issue devices' certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.confirm import carry_out
from cli.language import t
from cli.moments import age, shown
from cli.render.revocation_lists import state, when_stale
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("認証局の失効リスト (CRL)", "the authorities' revocation lists"))


def _listed(value: object) -> str:
    return t("リストにある(失効)", "on the list (revoked)") if value else t("リストにない", "not on the list")


COLUMNS = (
    Column("authority", "認証局", "authority", keep=True),
    Column("state", "状態", "state", state, keep=True),
    Column("number", "番号", "number"),
    Column("entries", "件数", "entries"),
    Column("this_update", "発行", "this update", shown),
    Column("next_update", "期限", "next update", shown, keep=True),
    Column("fault", "ファイルの誤り", "fault of the file"),
)
DETAIL = (
    Column("authority", "認証局", "authority"),
    Column("state", "状態", "state", state),
    Column("number", "番号", "number"),
    Column("entries", "件数", "entries"),
    Column("this_update", "発行", "this update", shown),
    Column("next_update", "期限", "next update", shown),
    Column("left", "期限まで", "left", age),
    Column("read_at", "採用", "in force since", shown),
    Column("file", "ファイル", "file"),
    Column("fault", "ファイルの誤り", "fault of the file"),
    Column("when_stale", "期限切れのとき", "when stale", when_stale),
    Column("digest", "SHA-256", "SHA-256"),
    Column("id", "認証局の鍵", "authority's key"),
    Column("serial", "シリアル番号", "serial"),
    Column("revoked", "この番号は", "this number is", _listed),
)


PLAN = (
    Column("authority", "認証局", "authority"),
    Column("number", "番号", "number"),
    Column("former_number", "いまの番号", "number in force"),
    Column("this_update", "発行", "this update", shown),
    Column("former_this_update", "いまの発行", "this update in force", shown),
    Column("entries", "件数", "entries"),
    Column("added", "失効になる", "newly revoked"),
    Column("lifted", "また使える", "count again"),
    Column("digest", "SHA-256", "SHA-256"),
)
Name = Annotated[str, typer.Argument(help=t("認証局の名前、または鍵の先頭", "authority: name, or start of its id"))]


@lists(group, "ls", "失効リストの一覧と状態", "the lists and how they stand")
def ls(call: Call) -> None:
    """List the revocation lists."""
    answer = call.client().get("/v1/revocation-lists", limit=call.limit)
    empty = t("失効リストの設定はありません (listeners.public.client_crls)。", "no lists are configured.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "失効リストの詳細。--serial で番号を照会", "show one list; --serial looks a number up")
def show(
    call: Call,
    authority: Name,
    serial: Annotated[str, typer.Option("--serial", help=t("シリアル番号 (16進)", "serial number, hex"))] = "",
) -> None:
    """Show one revocation list."""
    answer = call.client().get(f"/v1/revocation-lists/{segment(authority)}", serial=serial or None)
    answer.pop("request_id", None)
    call.one(answer, tuple(each for each in DETAIL if each.key in answer))


@changes(group, "accept", "番号が戻った失効リストを使う (認証局の復旧のあと)", "use a list whose numbers began anew")
def accept(call: Call, authority: Name) -> None:
    """Put the list in the authority's file in force although its number or time went back."""
    client, shown_digest = call.client(), ""

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/v1/revocation-lists/{segment(authority)}/accept"
        return client.post(path, {**shared, "digest": shown_digest})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        nonlocal shown_digest
        (row,) = rows
        shown_digest = str(row["digest"])
        name, lifted = str(row["authority"]), row["lifted"]
        ja = f"{name} の失効リストを、番号の戻ったものに替えます。証明書 {lifted} 件がまた使えます。"
        return t(ja, f"goes back to an older list of {name}; {lifted} certificates count again."), name

    answer = carry_out(call, send, PLAN, question)
    if answer is not None:
        row = answer["list"]
        tell(t(f"失効リスト {row['number']} が有効です。", f"list {row['number']} is in force."))
