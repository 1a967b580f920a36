"""`sekisho login | logout | whoami | status`."""

from __future__ import annotations

import getpass
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_secret
from cli.language import t
from cli.moments import age, shown
from cli.private_file import write_private
from cli.render.revocation_lists import list_troubles, shown_lists
from cli.render.table import Column
from cli.render.upstreams import server_troubles
from cli.render.witnesses import shown_witnesses, witness_troubles

_MDM_FAILURES = 3  # in a row: fewer are the weather
WHO = (
    Column("login", "職員ID", "login"),
    Column("name", "氏名", "name"),
    Column("roles", "役割", "roles"),
    Column("expires_at", "期限", "expires", shown),
)


def register(app: typer.Typer) -> None:
    """Add the commands to the top level."""
    shows(app, "login", "サインイン (職員ID、パスワード、確認コード)", "sign in: id, password, second factor")(login)
    shows(app, "logout", "サインアウト", "sign out")(logout)
    shows(app, "whoami", "サインイン中の利用者", "who is signed in")(whoami)
    shows(app, "status", "全体の状態", "is everything well")(status)


def login(
    call: Call,
    user: Annotated[str, typer.Option("--user", "-u", help=t("職員ID", "login"))] = "",
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help=t("パスワードのファイル (- は標準入力)", "file, - = stdin"))
    ] = None,
    code_file: Annotated[
        Path | None, typer.Option("--code-file", help=t("確認コードのファイル", "file with the code"))
    ] = None,
) -> None:
    """Sign in over the admin socket; the token goes into a file that only this person can read."""
    client = call.anonymous_client()
    name = user or _ask(t("職員ID: ", "login: "))
    password = read_secret(password_file) if password_file else _ask_secret(t("パスワード: ", "password: "))
    about = f"sekisho-cli/{os.uname().sysname}" if hasattr(os, "uname") else "sekisho-cli"
    first = client.post("/v1/sign-in/start", {"login": name, "password": password, "client": about})
    if "totp" not in first["methods"]:
        raise Failure(ExitCode.NOT_ALLOWED, _no_code(first))
    code = read_secret(code_file) if code_file else _ask_secret(t("確認コード (6桁): ", "code (6 digits): "))
    answer = client.post("/v1/sign-in/finish", {"challenge": first["challenge"], "code": code, "client": about})
    write_private(call.place.token_file(), answer["token"] + "\n", replace=True)
    row = {**answer["user"], "expires_at": answer["expires_at"]}
    if call.output is Output.TABLE:
        until = shown(answer["expires_at"])
        words = f"{row['name']} ({row['login']}) としてサインインしました。期限 {until}"
        tell(t(words, f"signed in as {row['login']} until {until}."))
    else:
        call.one(row)


def _no_code(first: dict[str, Any]) -> str:
    """What a person does who has a password but no authenticator app: a terminal cannot ask for a passkey."""
    page = f"{first['portal']}/factors/totp"
    if "webauthn" in first["methods"]:
        return t(
            f"コマンドではパスキーを使えません。ポータルで認証アプリを追加してください: {page}",
            f"a passkey cannot be used here; add an authenticator app in the portal: {page}",
        )
    return t(
        "使える第二の認証手段がありません。担当者に設定コードの再発行を依頼してください (sekisho users letter)。",
        "no usable second factor; ask for a new set-up code (sekisho users letter).",
    )


def logout(call: Call) -> None:
    """End the token and forget it."""
    path = call.place.token_file()
    try:
        call.client().post("/v1/sign-out", {})
    except Failure as failure:
        if failure.code is not ExitCode.SIGN_IN_NEEDED:
            raise
    path.unlink(missing_ok=True)
    tell(t("サインアウトしました。", "signed out."))


def whoami(call: Call) -> None:
    """Tell who is signed in."""
    answer = call.client().get("/v1/whoami")
    answer.pop("request_id", None)
    call.one(answer, WHO)


def status(call: Call) -> None:
    """Tell what holds and what does not; fails where something that must hold does not."""
    answer = call.client().get("/v1/status")
    answer.pop("request_id", None)
    troubles = _troubles(answer)
    if call.output is Output.TABLE and not call.fields:
        ja = f"× 対応が必要 ({len(troubles)} 件、下に表示)" if troubles else "○ すべて正常"
        overall = t(ja, f"{len(troubles)} need attention, below" if troubles else "all is well")
        call.one({t("全体", "overall"): overall, **_summary(answer)})
    else:
        call.one(answer)
    if troubles:
        raise Failure(ExitCode.FAILED, t("対応が必要です:", "needs attention:"), troubles)


def _summary(answer: dict[str, Any]) -> dict[str, Any]:
    policy = answer["policy"] or {}
    steward, sessions, checkpoint = answer["steward"], answer["sessions"], answer["checkpoint"] or {}
    workers, apps = steward.get("workers") or [], answer["apps"]
    return {
        t("ワーカー", "workers"): _workers(workers, answer["workers_expected"]),
        t("上限に達した回数", "bounds reached"): _reached(workers),
        t("記録", "journal"): t("正常", "healthy") if answer["journal"]["healthy"] else t("異常", "unhealthy"),
        t("ディスク", "disk"): _disk(answer["disk"]),
        t("チェックポイント", "checkpoint"): f"{checkpoint.get('size', '-')} ({age(checkpoint.get('age'))})",
        t("証人", "witnesses"): shown_witnesses(answer.get("witnesses", ()), answer["time"]),
        t("ポリシー", "policy"): f"{str(policy.get('hash', '-'))[:12]} {policy.get('title', '')}",
        t("未強制の規則", "not enforced"): _soft(policy.get("not_enforced", ())) or t("なし", "none"),
        t("セッション", "sessions"): f"{sessions['browser']} (+{sessions['operator']} {t('管理', 'operators')})",
        t("アプリ", "apps"): f"{apps['active']} (+{apps['pending']} {t('承認待ち', 'pending')})",
        t("ロック", "locks"): answer["locks"],
        t("承認待ち", "approvals"): answer["approvals"],
        t("端末管理", "MDM"): _posture(answer.get("posture")),
        t("失効リスト", "revocation lists"): shown_lists(answer.get("revocation_lists") or ()),
        t("通知", "alerts"): _alerts(answer.get("alerts")),
        t("記録の送り先", "outlets"): _outlets(answer.get("outlets")),
    }


def _disk(disk: dict[str, Any] | None) -> str:
    if disk is None:
        return t("不明", "unknown")
    used, free = disk["used_percent"], f"{disk['free'] / 2**30:.1f} GiB"
    return t(f"使用率 {used} %、空き {free}", f"{used} % used, {free} free")


def _disk_troubles(disk: dict[str, Any] | None) -> list[str]:
    if disk is None:
        return [t("記録のディスクの空きが分かりません。", "the journals' disk does not answer.")]
    if disk["limited"]:
        words = {
            "strangers": t("名乗らない要求の個別の記録", "single records of strangers"),
            "staff": t("職員の新しい要求", "new requests of staff"),
            "control": t("サインインと管理", "sign-in and administration"),
            "last": t("すべての記録", "every record"),
        }
        names = t("、", ", ").join(words[kind] for kind in disk["limited"])
        return [t(f"ディスクの空きが足りず、止めています: {names}", f"too little room on the disk; stopped: {names}")]
    if disk["alarm"]:
        used = disk["used_percent"]
        return [t(f"記録のディスクの {used} % を使っています。", f"{used} % of the journals' disk are in use.")]
    return []


def _posture(state: dict[str, Any] | None) -> str:
    if state is None:
        return t("設定なし", "not set")
    read = age(state["read_age"])
    words = t(
        f"{state['source']} {state['devices']} 台、読取り {read}", f"{state['source']}, {state['devices']}, read {read}"
    )
    if state["failures"]:
        words += t(
            f"、失敗 {state['failures']} 回 ({state['fault']})", f", {state['failures']} failures ({state['fault']})"
        )
    return words


def _alerts(states: list[dict[str, Any]] | None) -> str:
    if states is None:
        return t("設定なし", "not set")
    return ", ".join(f"{state['name']}: {state['last_fault'] or t('正常', 'healthy')}" for state in states)


def _outlets(states: list[dict[str, Any]] | None) -> str:
    if not states:
        return t("設定なし", "not set")
    return ", ".join(
        f"{state['outlet']}: "
        + t(f"遅れ {state.get('lag_records', '-')} 件", f"{state.get('lag_records', '-')} behind")
        for state in states
    )


def _soft(rules: Any) -> str:
    return ", ".join(f"{rule['rule']} ({rule['mode']})" for rule in rules)


def _serving(workers: list[dict[str, Any]]) -> int:
    """How many workers know the state and hold their line to the steward: only those answer requests."""
    return sum(1 for worker in workers if worker["counted"] and worker["connected"])


def _workers(workers: list[dict[str, Any]], expected: int) -> str:
    return t(f"{expected} 個中 {_serving(workers)} 個が稼働", f"{_serving(workers)} of {expected} serving")


def _reached(workers: list[dict[str, Any]]) -> str:
    """How often clients ran into which bound since the workers started, the most frequent first."""
    total: Counter[str] = Counter()
    for worker in workers:
        total.update((worker.get("counters") or {}).get("reached") or {})
    return ", ".join(f"{name} {count}" for name, count in total.most_common(6)) or t("なし", "none")


def _troubles(answer: dict[str, Any]) -> list[str]:
    found = []
    if not answer["steward"]["healthy"]:
        found.append(t("状態管理 (steward) が応答しません。", "the steward does not answer."))
    else:
        expected, serving = answer["workers_expected"], _serving(answer["steward"]["workers"])
        if serving < expected:
            words = f"ワーカー {expected} 個のうち {expected - serving} 個が稼働していません。"
            found.append(t(words, f"{expected - serving} of {expected} workers are not serving."))
    if not answer["journal"]["healthy"]:
        found.append(t("記録を書き込めません。ディスクを確認してください。", "the journal cannot be written."))
    found += _disk_troubles(answer["disk"])
    found += server_troubles(answer.get("upstreams") or {})
    if answer["policy"] is None:
        found.append(t("有効なポリシーがありません。すべて拒否されます。", "no active policy: everything is refused."))
    found += list_troubles(answer.get("revocation_lists") or ())
    posture = answer.get("posture")
    if posture is not None and posture["failures"] >= _MDM_FAILURES:
        words = f"{posture['failures']} 回続けて端末管理 (MDM) から取得できません: {posture['fault']}"
        found.append(t(words, f"no reading of the MDM, {posture['failures']} in a row: {posture['fault']}"))
    for state in answer.get("alerts") or ():
        if state["last_fault"]:
            name, fault = state["name"], state["last_fault"]
            found.append(t(f"通知を送れません ({name}): {fault}", f"alerts do not go out ({name}): {fault}"))
    found += witness_troubles(answer.get("witnesses", ()))
    for state in answer.get("outlets") or ():
        name, fault = state["outlet"], state.get("fault") or ("" if state["running"] else "no status")
        if fault:
            found.append(t(f"記録を送れません ({name}): {fault}", f"records do not go out ({name}): {fault}"))
    checkpoint = answer["checkpoint"]
    if checkpoint is None or checkpoint["age"] > 60:
        found.append(t("チェックポイントが更新されていません (auditor)。", "checkpoints are not being made (auditor)."))
    return found


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise Failure(ExitCode.USAGE, t("--user を指定してください。", "give --user."))
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _ask_secret(prompt: str) -> str:
    if not sys.stdin.isatty():
        ja = "端末がありません。--password-file と --code-file を使ってください。"
        raise Failure(ExitCode.USAGE, t(ja, "no terminal: use --password-file and --code-file."))
    return getpass.getpass(prompt)
