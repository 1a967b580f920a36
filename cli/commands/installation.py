"""`sekisho init | serve | config`: the installation on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.spoken import SpokenGroup

if TYPE_CHECKING:
    from gateway.installation import Installed

state_group = typer.Typer(no_args_is_help=True, help=t("保存された状態", "the store"))
config_group = typer.Typer(no_args_is_help=True, help=t("設定", "settings"))


def register(app: typer.Typer) -> None:
    """Add the commands to the top level."""
    shows(app, "init", "新しく導入する (鍵、証明書、設定、最初の管理者)", "create an installation")(init)
    shows(app, "serve", "起動する (前面で動作)", "run in the foreground")(serve)
    app.add_typer(config_group, name="config", cls=SpokenGroup)
    app.add_typer(state_group, name="state", cls=SpokenGroup)


def init(
    call: Call,
    directory: Annotated[Path, typer.Argument(help=t("作成する場所", "folder to create"))],
    portal: Annotated[str, typer.Option("--portal", help=t("ポータルの名前 (変更不可)", "permanent"))] = "",
    rp_id: Annotated[str, typer.Option("--rp-id", help=t("RP ID (変更不可)", "RP ID, permanent"))] = "",
    organisation: Annotated[str, typer.Option("--organisation", help=t("組織名", "organisation"))] = "",
    help_contact: Annotated[str, typer.Option("--help-contact", help=t("困ったときの連絡先", "whom to ask"))] = "",
    domain: Annotated[str, typer.Option("--domain", help=t("アプリのドメイン", "domain of the apps"))] = "",
    port: Annotated[int, typer.Option("--port", help=t("ブラウザーから見えるポート", "port that browsers see"))] = 443,
    listen: Annotated[str, typer.Option("--listen", help=t("待ち受けるアドレス", "address"))] = "127.0.0.1:8443",
    login: Annotated[str, typer.Option("--login", help=t("最初の管理者の職員ID", "login of the first CISO"))] = "ciso",
    name: Annotated[str, typer.Option("--name", help=t("最初の管理者の氏名", "name of the first CISO"))] = "CISO",
    yes: Annotated[bool, typer.Option("--yes", help=t("確認を省く", "no confirmation"))] = False,
) -> None:
    """Create an installation; nothing existing is ever overwritten."""
    from gateway.first_state import FirstAccount
    from gateway.installation import InstallationRefused, Options, create, plan
    from gateway.settings import SettingsFaults

    host = portal or _ask(t("ポータルの名前 (例 portal.city.example.jp): ", "portal name: "), "--portal")
    options = Options(
        directory=directory,
        portal_host=host,
        rp_id=rp_id or host,
        organisation=organisation or _ask(t("組織名: ", "organisation: "), "--organisation"),
        help_contact=help_contact or _ask(t("困ったときの連絡先: ", "whom to ask for help: "), "--help-contact"),
        account=FirstAccount(login=login, name=name),
        domain=domain,
        port=port,
        listen=listen,
    )
    try:
        planned = plan(options)
        _confirm_names(host, options.rp_id, planned.directory, yes=yes)
        made = create(planned, call.now)
    except InstallationRefused as error:
        raise Failure(ExitCode.CONFLICT, str(error)) from error
    except SettingsFaults as found:
        lines = [str(fault) for fault in found.faults]
        raise Failure(ExitCode.USAGE, t("指定に誤りがあります。", "the options have faults."), lines) from found
    _tell_created(call, made)


def _tell_created(call: Call, made: Installed) -> None:
    tell(t(f"{made.root} に作成しました。", f"created in {made.root}."))
    call.one({
        "settings": str(made.settings_file), "portal": made.portal_url, "setup": made.setup_url, "login": made.login,
        "setup_code": made.setup_code, "tls_authority": str(made.tls_authority),
    })  # fmt: skip
    tell(
        t(
            f"次にすること:\n  sekisho serve --config {made.settings_file}\n"
            f"  ブラウザーで {made.setup_url} を開き、{made.login} と設定コードで初回設定 (コードは一度だけ表示)",
            f"next:\n  sekisho serve --config {made.settings_file}\n  open {made.setup_url} as {made.login}",
        )
    )


def serve(call: Call) -> None:
    """Run the supervisor in this process until it is told to stop."""
    import os

    path = call.place.settings_file()
    call.place.settings()
    os.execv(sys.executable, [sys.executable, "-m", "gateway.supervisor", "--config", str(path)])  # noqa: S606


@shows(config_group, "check", "設定ファイルを検査", "check the settings file")
def check(call: Call) -> None:
    """Check the settings."""
    path = call.place.settings_file()
    settings = call.place.settings()
    if call.output is Output.TABLE:
        tell(t(f"{path}: 誤りはありません。", f"{path}: no faults."))
    else:
        call.one({"file": str(path), "portal": settings.portal.origin, "faults": []})


@shows(config_group, "reference", "設定項目の一覧 (意味、既定値、理由)", "every setting: meaning, default, reason")
def reference(call: Call) -> None:
    """Print the reference."""
    from gateway.settings_reference import commented_toml

    call.lines(commented_toml({}).splitlines())


@shows(state_group, "upgrade", "保存形式を今の版に更新 (停止中に実行)", "bring the store to this version, stopped")
def upgrade(call: Call) -> None:
    """Upgrade the store."""
    import sqlite3

    from gateway.upgrade import StillRunning, upgrade_store

    settings = call.place.settings()
    try:
        done = upgrade_store(settings, call.now)
    except StillRunning as error:
        message = t("sekisho が動いています。停止してから実行してください。", "sekisho is running; stop it first.")
        raise Failure(ExitCode.CONFLICT, message, [str(error)]) from error
    except (OSError, sqlite3.Error) as error:
        message = t(f"更新できません: {error}", f"cannot upgrade: {error}")
        raise Failure(ExitCode.FAILED, message) from error
    if call.output is not Output.TABLE:
        call.one({"before": done.before, "after": done.after, "copy": str(done.copy) if done.copy else None})
    elif done.copy is None:
        tell(t(f"最新です ({done.after})。何も変更していません。", f"up to date ({done.after}); nothing was changed."))
    else:
        tell(
            t(
                f"{done.before} から {done.after} に更新しました。前の状態は {done.copy} にあります。",
                f"upgraded from {done.before} to {done.after}; the state before is {done.copy}.",
            )
        )


def _confirm_names(host: str, rp_id: str, directory: Path, *, yes: bool) -> None:
    tell(
        t(
            f"{directory} に作成します。ポータルの名前 {host} とパスキーの RP ID {rp_id} は、後から変更できません。",
            f"creates {directory}. The portal name {host} and RP ID {rp_id} are permanent.",
        )
    )
    if yes or not sys.stdin.isatty():
        return
    if _ask(t(f"よければ {host} と入力してください: ", f"type {host} to go on: "), "--yes") != host:
        raise Failure(ExitCode.FAILED, t("一致しません。何も作成していません。", "no match; nothing was created."))


def _ask(prompt: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise Failure(ExitCode.USAGE, t(f"{option} を指定してください。", f"give {option}."))
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
