"""The command line `sekisho`: nouns and verbs put together. Heavy modules are imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.call import Output
from cli.commands import (
    account,
    alerts,
    anomalies,
    approvals,
    apps,
    bundles,
    checkpoints,
    clock,
    demo,
    devices,
    doctor,
    elastic,
    events,
    installation,
    keys,
    locks,
    mdm_sim,
    policy,
    proofs,
    record_proofs,
    reload,
    retention,
    reveals,
    sessions,
    tour,
    users,
    verifying,
    witness,
)
from cli.exit_codes import ExitCode
from cli.language import t
from cli.spoken import Program, SpokenCommand, SpokenGroup

app = typer.Typer(
    name="sekisho",
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=t("関所: 業務アプリへのアクセスを確かめ、記録するゲートウェイ", "Sekisho: a zero-trust access gateway"),
)


@app.callback()
def shared(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help=t("設定ファイル", "settings file"))] = None,
    output: Annotated[Output | None, typer.Option("--output", "-o", help=t("出力の形式", "output"))] = None,
    lang: Annotated[str, typer.Option("--lang", help="ja | en")] = "",
) -> None:
    """Keep what stands before the noun for the command."""
    context.obj = {"config": config, "output": output, "lang": lang}


installation.register(app)
account.register(app)
doctor.register(app)
reload.register(app)
app.add_typer(users.group, name="users", cls=SpokenGroup)
app.add_typer(sessions.group, name="sessions", cls=SpokenGroup)
app.add_typer(locks.group, name="locks", cls=SpokenGroup)
app.add_typer(apps.group, name="apps", cls=SpokenGroup)
app.add_typer(policy.group, name="policy", cls=SpokenGroup)
app.add_typer(approvals.group, name="approvals", cls=SpokenGroup)
app.add_typer(events.group, name="events", cls=SpokenGroup)
app.add_typer(anomalies.group, name="anomalies", cls=SpokenGroup)
app.add_typer(elastic.group, name="es", cls=SpokenGroup)
app.add_typer(devices.group, name="devices", cls=SpokenGroup)
app.add_typer(alerts.group, name="alerts", cls=SpokenGroup)
app.add_typer(clock.group, name="clock", cls=SpokenGroup)
app.add_typer(mdm_sim.group, name="mdm-sim", cls=SpokenGroup)
verifying.register(proofs.audit_group)
record_proofs.register(proofs.audit_group)
checkpoints.register(proofs.audit_group)
bundles.register(proofs.audit_group)
proofs.audit_group.add_typer(reveals.group)
proofs.audit_group.add_typer(retention.holds_group, name="holds", cls=SpokenGroup)
app.add_typer(proofs.audit_group, name="audit", cls=SpokenGroup)
proofs.audit_group.add_typer(keys.group, name="keys", cls=SpokenGroup)
app.add_typer(proofs.receipts_group, name="receipts", cls=SpokenGroup)
app.add_typer(witness.group, name="witness", cls=SpokenGroup)
app.add_typer(demo.group, name="demo", cls=SpokenGroup)
tour.register(app)


@app.command("version", cls=SpokenCommand, help=t("版", "version"))
def version() -> None:
    """Print the version, and whether the request path is compiled here."""
    from importlib.machinery import EXTENSION_SUFFIXES
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed
    from importlib.util import find_spec

    path = find_spec("gateway.edge.connection")
    compiled = path is not None and str(path.origin).endswith(tuple(EXTENSION_SUFFIXES))
    try:
        typer.echo(f"sekisho {installed('sekisho')}{t('(コンパイル版)', ' (compiled)') if compiled else ''}")
    except PackageNotFoundError:
        typer.echo(t("sekisho がインストールされていません。", "sekisho is not installed."), err=True)
        raise typer.Exit(ExitCode.FAILED) from None


@app.command(
    "completion",
    cls=SpokenCommand,
    help=t("補完の設定を出力 (bash、zsh、fish)", "completion script for bash, zsh, fish"),
)
def completion(shell: Annotated[str, typer.Argument(help="bash | zsh | fish")] = "bash") -> None:
    """Print a completion script."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # the only public place of it

    if shell not in ("bash", "zsh", "fish"):
        typer.echo(t("bash、zsh、fish のいずれかです。", "one of bash, zsh, fish."), err=True)
        raise typer.Exit(ExitCode.USAGE)
    typer.echo(get_completion_script(prog_name="sekisho", complete_var="_SEKISHO_COMPLETE", shell=shell))


def main() -> None:
    """Entry point of the `sekisho` program."""
    app(prog_name="sekisho")


if __name__ == "__main__":
    main()
