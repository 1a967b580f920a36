"""`sekisho users`: accounts, import, set-up letters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands.sessions import ended
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import short, shown
from cli.private_file import write_private
from cli.render.states import state_word
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("利用者", "users"))

COLUMNS = (
    Column("login", "職員ID", "login", keep=True),
    Column("name", "氏名", "name"),
    Column("department", "所属", "department"),
    Column("groups", "グループ", "groups"),
    Column("roles", "役割", "roles"),
    Column("state", "状態", "state", state_word),
)
DETAIL = (
    *COLUMNS,
    Column("email", "メール", "e-mail"),
    Column("kind", "区分", "kind"),
    Column("disabled", "停止中", "disabled"),
    Column("language", "言語", "language"),
    Column("sessions", "セッション", "sessions"),
    Column("locks", "ロック", "locks"),
    Column("created_at", "登録", "created", shown),
    Column("contract_end", "任期の終わり", "contract ends", shown),
)
FAULTS = (
    Column("line", "行", "line", keep=True),
    Column("column", "列", "column"),
    Column("got", "内容", "got"),
    Column("expected", "正しい形", "expected"),
)
Login = Annotated[str, typer.Argument(help=t("職員ID", "login"))]
Letters = Annotated[
    Path | None, typer.Option("--letters", help=t("設定のご案内 (HTML) の保存先", "file for the set-up letter (HTML)"))
]


@lists(group, "ls", "利用者の一覧", "list users")
def ls(
    call: Call,
    group_name: Annotated[str, typer.Option("--group", help=t("グループ", "group"))] = "",
    state: Annotated[str, typer.Option("--state", help="active | disabled")] = "",
    text: Annotated[str, typer.Option("--text", help=t("職員ID、氏名、所属の一部", "part of a name"))] = "",
) -> None:
    """List users."""
    answer = call.client().get("/v1/users", group=group_name, state=state, text=text, limit=call.limit)
    empty = t("該当する利用者はいません。登録は sekisho users import", "no such users; see users import.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "利用者の詳細", "show one user")
def show(call: Call, login: Login) -> None:
    """Show one user."""
    answer = call.client().get(f"/v1/users/{segment(login)}")
    answer.pop("request_id", None)
    columns = (*DETAIL, Column("factors", "認証手段", "factors", _factors))
    call.one(answer, columns)


@changes(group, "add", "利用者の登録 (設定のご案内を作成)", "add a user, with a set-up letter")
def add(
    call: Call,
    login: Login,
    name: Annotated[str, typer.Option("--name", help=t("氏名", "name"))],
    department: Annotated[str, typer.Option("--department", help=t("所属", "department"))] = "",
    email: Annotated[str, typer.Option("--email", help=t("メールアドレス", "e-mail"))] = "",
    groups: Annotated[list[str] | None, typer.Option("--group", help=t("グループ (複数可)", "groups"))] = None,
    roles: Annotated[list[str] | None, typer.Option("--role", help="ciso | audit | operator")] = None,
    kind: Annotated[str, typer.Option("--kind", help="staff | fixed_term | contractor")] = "staff",
    contract_end: Annotated[str, typer.Option("--contract-end", help=t("任期の最終日", "last day"))] = "",
    letters: Letters = None,
) -> None:
    """Add a user."""
    body = {
        "login": login, "name": name, "department": department, "email": email, "groups": groups or [],
        "roles": roles or [], "kind": kind, "contract_end": contract_end,
    }  # fmt: skip
    target = _letter_file(letters, login)
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/users", {**body, **shared})

    answer = carry_out(call, send, COLUMNS, lambda _: (t(f"{login} を登録します。", f"adds {login}."), login))
    if answer is not None:
        _write_letters(answer, target)
        call.one(answer["user"], DETAIL)


@changes(group, "import", "CSV から登録 (内容を確認してから)", "add people from CSV, after a preview")
def import_(
    call: Call,
    file: Annotated[Path, typer.Argument(help=t("CSV (UTF-8 または Shift_JIS)", "CSV, UTF-8 or CP932"))],
    letters: Letters = None,
) -> None:
    """Import users."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{file}: {error.strerror}") from error
    body: dict[str, Any] = {"file": base64.b64encode(data).decode()}
    client = call.client()
    preview = client.post("/v1/users/import", {**body, **call.change(dry_run=True)})
    if preview["faults"]:
        call.rows(preview["faults"], FAULTS, "")
        message = t(
            f"{file}: {len(preview['faults'])} か所に誤りがあります。何も登録していません。",
            f"{file}: {len(preview['faults'])} faults; nothing was added.",
        )
        raise Failure(ExitCode.FAILED, message)
    target = _letter_file(letters, file.stem)

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/users/import", {**body, "digest": preview["digest"], **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        return t(f"{len(rows)} 人を登録します。", f"adds {len(rows)} people."), str(len(rows))

    answer = carry_out(call, send, COLUMNS[:-1], question)
    if answer is not None:
        _write_letters(answer, target)
        tell(t(f"{len(answer['created'])} 人を登録しました。", f"{len(answer['created'])} people added."))
        if answer["failed"]:
            lines = [f"{item['login']}: {item['fault']}" for item in answer["failed"]]
            raise Failure(ExitCode.CONFLICT, t("登録できなかった人がいます。", "some were not added."), lines)


@changes(group, "disable", "アカウントを無効にし、接続を切断", "disable an account; live connections end")
def disable(
    call: Call,
    login: Login,
    receipt: Annotated[Path | None, typer.Option("--receipt", help=t("受領証の保存先", "file for the receipt"))] = None,
) -> None:
    """Disable a user."""
    answer = _change_one(call, login, "disable", t(f"{login} を無効にします。", f"disables {login}."))
    if answer is not None:
        tell(t(f"{login} を無効にしました。", f"{login} disabled."))
        ended(call, answer, receipt)


@changes(group, "enable", "アカウントを有効に戻す", "enable an account again")
def enable(call: Call, login: Login) -> None:
    """Enable a user."""
    if _change_one(call, login, "enable", t(f"{login} を有効にします。", f"enables {login}.")) is not None:
        tell(t(f"{login} を有効にしました。", f"{login} enabled."))


@changes(group, "reset-factors", "認証手段をすべて削除し、設定をやり直す", "remove all factors; set up anew")
def reset_factors(call: Call, login: Login, letters: Letters = None) -> None:
    """Reset the factors of a user."""
    target = _letter_file(letters, login)
    words = t(f"{login} の認証手段をすべて削除します。", f"removes all factors of {login}.")
    answer = _change_one(call, login, "reset", words)
    if answer is not None:
        _write_letters(answer, target)
        tell(t(f"認証手段 {answer['removed']} 件を削除しました。", f"{answer['removed']} factors removed."))


@changes(group, "letter", "設定のご案内を作り直す", "a new set-up letter")
def letter(call: Call, login: Login, letters: Letters = None) -> None:
    """Print a new set-up letter."""
    target = _letter_file(letters, login)
    words = t(f"{login} の新しい設定コードを作ります (前のコードは無効)。", f"makes a new set-up code for {login}.")
    answer = _change_one(call, login, "letter", words)
    if answer is not None:
        _write_letters(answer, target)


def _change_one(call: Call, login: str, verb: str, words: str) -> dict[str, Any] | None:
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/users/{segment(login)}/{verb}", shared)

    return carry_out(call, send, COLUMNS, lambda rows: (words, str(rows[0]["login"])))


def _letter_file(given: Path | None, stem: str) -> Path:
    """Where the letters go, checked before anything is created: a code that cannot be written would be lost."""
    path = given or Path(f"setup-{stem}.html")
    if path.exists():
        message = t(f"{path} は既にあります (--letters で変更)。", f"{path} exists; use --letters.")
        raise Failure(ExitCode.CONFLICT, message)
    return path


def _write_letters(answer: dict[str, Any], path: Path) -> None:
    page = answer.pop("letters_html", "")
    if page:
        write_private(path, page, replace=False)
        tell(
            t(
                f"設定のご案内を {path} に保存しました。印刷して本人に渡し、ファイルは削除してください。",
                f"set-up letters written to {path}: print, hand over, then delete the file.",
            )
        )


def _factors(value: Any) -> str:
    if not value:
        return t("なし (未設定)", "none")
    return ", ".join(f"{item['kind']} ({short(item['created_at'])})" for item in value)
