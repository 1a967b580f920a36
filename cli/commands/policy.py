"""`sekisho policy`: what may pass. `check` works offline; `apply` waits for another person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, Output, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands.apps import tell_proposed
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.moments import parse_span, short
from cli.render import trail
from cli.render.states import state_word
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("ポリシー", "policy"))

COLUMNS = (
    Column("hash", "版", "version", lambda value: str(value)[:12], keep=True),
    Column("title", "名称", "title"),
    Column("state", "状態", "state", state_word),
    Column("created_by", "申請者", "by"),
    Column("approved_by", "承認者", "approved by"),
    Column("created_at", "登録", "created", short),
)
ABOUT = (
    *COLUMNS,
    Column("approved_at", "有効化", "activated", lambda value: short(value) if value else "-"),
    Column("source", "本文", "source"),
)
PLAN = (
    Column("action", "操作", "action"),
    Column("hash", "版", "version", lambda value: str(value)[:12]),
    Column("rules_added", "追加", "added"),
    Column("rules_removed", "削除", "removed"),
    Column("rules_changed", "変更", "changed"),
)
UNMET = (
    Column("attribute", "条件", "condition", keep=True),
    Column("operator", "", ""),
    Column("required", "必要", "required"),
    Column("actual", "実際", "actual", lambda value: t("不明", "missing") if value is None else str(value)),
    Column("advice", "案内", "advice"),
)
FAULTS = (
    Column("line", "行", "line", keep=True),
    Column("column", "列", "column"),
    Column("key", "キー", "key"),
    Column("got", "内容", "got"),
    Column("expected", "正しい形", "expected"),
)
TESTS = (Column("name", "試験", "test"), Column("passed", "合格", "passed"), Column("got", "結果", "got"))
File = Annotated[Path, typer.Option("--file", "-f", help=t("ポリシーのファイル", "policy file"))]


@shows(group, "check", "ファイルを検査 (接続不要、ファイル内の試験も実行)", "check a file offline, its tests included")
def check(
    call: Call,
    path: Annotated[Path | None, typer.Argument(metavar="[file]", help=t("ポリシーのファイル", "policy file"))] = None,
    named: Annotated[
        Path | None, typer.Option("--file", "-f", help=t("同上 (diff や apply と同じ書き方)", "the same, as for apply"))
    ] = None,
) -> None:
    """Check a policy file, named either way."""
    file = path or named
    if file is None or (path is not None and named is not None):
        raise Failure(ExitCode.USAGE, t("ポリシーのファイルを一つ指定してください。", "name one policy file."))
    ir = _loaded(call, file)
    facts = {"file": str(file), "hash": ir.hash, "rules": len(ir.rules), "tests": len(ir.tests)}
    if call.output is Output.TABLE:
        words = f"{file}: 規則 {len(ir.rules)} 件、試験 {len(ir.tests)} 件合格。版 {ir.hash[:12]}"
        tell(t(words, f"{file}: {len(ir.rules)} rules, {len(ir.tests)} tests pass. Version {ir.hash[:12]}"))
    else:
        call.one(facts)


@shows(group, "test", "仮の要求を判定 (-f だけなら中の試験)", "decide an imagined request, or run a file's tests")
def try_policy(
    call: Call,
    file: Annotated[Path | None, typer.Option("--file", "-f", help=t("既定は有効な版", "default: active"))] = None,
    user: Annotated[str, typer.Option("--user", help=t("職員ID", "login"))] = "",
    app: Annotated[str, typer.Option("--app", help=t("アプリID", "app id"))] = "",
    device: Annotated[str, typer.Option("--device", help=t("端末", "device"))] = "",
    zone: Annotated[str, typer.Option("--zone", help=t("接続元のゾーン", "zone"))] = "office",
    method: Annotated[str, typer.Option("--method")] = "GET",
    path: Annotated[str, typer.Option("--path")] = "/",
    mfa: Annotated[str, typer.Option("--mfa", help="totp | webauthn | none")] = "totp",
    mfa_age: Annotated[str, typer.Option("--mfa-age", help=t("MFA からの時間 (例 30m)", "since MFA"))] = "0s",
) -> None:
    """Test a policy."""
    if file is not None and not (user or app):
        _run_tests(call, file)
        return
    if not (user and app):
        raise Failure(ExitCode.USAGE, t("--user と --app を指定してください。", "give --user and --app."))
    try:
        since = parse_span(mfa_age)
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"--mfa-age: {error}") from error
    body = {
        "source": read_text(file) if file else "", "file": file.name if file else "active", "user": user, "app": app,
        "device": device, "zone": zone, "method": method.upper(), "path": path, "mfa_age": since,
        "mfa": "" if mfa == "none" else mfa,
    }  # fmt: skip
    explained(call, call.client().post("/v1/policies/test", body))


@shows(group, "explain", "受付番号の判定の理由", "why a recorded request was decided so")
def explain(call: Call, decision: Annotated[str, typer.Argument(help=t("受付番号", "reference"))]) -> None:
    """Explain a decision."""
    explained(call, call.client().post("/v1/policies/explain", {"decision": decision}))


@shows(group, "diff", "ファイルと有効な版の違い", "the file against the active version")
def diff(
    call: Call,
    file: File,
    exit_code: Annotated[bool, typer.Option("--exit-code", help=t("違いがあれば 8", "8 if they differ"))] = False,
) -> None:
    """Compare."""
    answer = call.client().post("/v1/policies/diff", {"source": read_text(file), "file": file.name})
    answer.pop("request_id", None)
    if call.output is Output.TABLE:
        call.one({name: answer[name] for name in ("rules_added", "rules_removed", "rules_changed")}, PLAN)
        call.lines(answer["lines"])
    else:
        call.one(answer)
    if exit_code and answer["lines"]:
        raise typer.Exit(ExitCode.FINDINGS)


@changes(group, "apply", "新しい版を申請 (別の人の承認で有効)", "propose a version, effective when another approves")
def apply(call: Call, file: File) -> None:
    """Propose a policy."""
    body = {"source": read_text(file), "file": file.name}
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/policies/apply", {**body, **shared})

    _proposed(carry_out(call, send, PLAN, _question))


@changes(group, "rollback", "以前の版に戻す申請", "propose an older version")
def rollback(call: Call, version: Annotated[str, typer.Argument(help=t("版 (6文字以上)", "hash"))]) -> None:
    """Propose an older policy."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/policies/rollback", {"version": version, **shared})

    _proposed(carry_out(call, send, PLAN, _question))


@lists(group, "ls", "版の一覧", "list versions")
def ls(call: Call) -> None:
    """List versions."""
    answer = call.client().get("/v1/policies", limit=call.limit)
    empty = t("版はありません。sekisho policy apply -f FILE --reason 理由", "no versions; see policy apply.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "版の本文 (既定は有効な版)", "a version's text (default: active)")
def show(
    call: Call,
    version: Annotated[str, typer.Argument(metavar="[hash]", help=t("版 (6文字以上)", "hash, 6 or more"))] = "active",
) -> None:
    """Print a version: its text alone on standard output, whose it is on standard error."""
    if not re.fullmatch(r"active|[0-9a-f]{6,64}", version):
        message = t(f"版はハッシュの先頭6文字以上 (0-9 と a-f) です: {version}", f"not 6 to 64 of 0-9a-f: {version}")
        raise Failure(ExitCode.USAGE, message, [t("一覧: sekisho policy ls", "list: sekisho policy ls")])
    answer = call.client().get(f"/v1/policies/{segment(version)}")
    answer.pop("request_id", None)
    if call.output is not Output.TABLE or call.fields:
        call.one(answer, ABOUT)
        return
    tell(_about(answer))
    call.lines(str(answer["source"]).splitlines())


def _about(row: Mapping[str, Any]) -> str:
    """Whose version it is, in one line."""
    name, made = str(row["hash"])[:12], short(row["created_at"])
    by, approver = row["created_by"], row["approved_by"] or "-"
    granted = f" {short(row['approved_at'])}" if row.get("approved_at") else ""
    return t(
        f"版 {name}「{row['title']}」({state_word(row['state'])})。申請 {by} {made}、承認 {approver}{granted}",
        f'version {name} "{row["title"]}" ({row["state"]}), proposed by {by} {made}, approved by {approver}{granted}',
    )


def explained(call: Call, answer: dict[str, Any]) -> None:
    """Show an explanation: the answer, the conditions that were not met, the facts."""
    answer.pop("request_id", None)
    if call.output is not Output.TABLE or call.fields:
        call.one(answer)
        return
    if answer.get("note"):
        tell(str(answer["note"]))
        return
    said = t("許可", "allowed") if answer["effect"] == "allow" else t("拒否", "denied")
    head = {
        "decision": said,
        "reason": trail.why({"sekisho.reason": answer["reason"]}),
        "rule": answer["rule"] or answer["nearest"] or "-",
    }
    call.one({**head, "advice": answer["advice"] or "-", "policy": str(answer["policy"])[:12]}, (
        Column("decision", "判定", "decision"), Column("reason", "理由", "reason"), Column("rule", "規則", "rule"),
        Column("advice", "案内", "advice"), Column("policy", "版", "version"),
    ))  # fmt: skip
    if answer["unmet"]:
        tell(t("満たされなかった条件:", "conditions that were not met:"))
        call.rows(answer["unmet"], UNMET, "")


def _question(rows: list[dict[str, Any]]) -> tuple[str, str]:
    name = str(rows[0]["hash"])[:12]
    return t(f"ポリシー {name} の有効化を申請します。", f"proposes the policy {name}."), name


def _proposed(answer: dict[str, Any] | None) -> None:
    if answer is not None:
        tell_proposed(answer["approvals"])


def _loaded(call: Call, file: Path) -> Any:
    from dataclasses import asdict

    from policies.load import PolicyFaults, load_policy

    try:
        return load_policy(read_text(file).encode(), str(file))
    except PolicyFaults as found:
        if call.output is not Output.TABLE:
            call.rows([asdict(fault) for fault in found.faults], FAULTS, "")
        lines = [str(fault) for fault in found.faults]
        raise Failure(ExitCode.FAILED, t(f"{file} に誤りがあります。", f"{file} has faults."), lines) from found


def _run_tests(call: Call, file: Path) -> None:
    from policies.testing import run_tests

    results = run_tests(_loaded(call, file))
    rows = [{"name": result.test.name, "passed": result.passed, "got": result.got} for result in results]
    call.rows(rows, TESTS, t("ファイルに試験がありません (tests:)。", "the file has no tests."))
