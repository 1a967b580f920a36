"""`sekisho mdm-sim`: a simulated MDM for trials, with devices that one can break and mend by hand."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import typer

from cli.call import Call, tell
from cli.command import lists, shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import short
from cli.private_file import read_private, write_private
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("模擬の端末管理 (試用と試験)", "a simulated MDM for trials"))

_ANSWER_WITHIN = 10.0  # seconds
COLUMNS = (
    Column("name", "端末名", "name", keep=True),
    Column("user", "利用者", "user", lambda name: str(name).partition("@")[0]),
    Column("os", "OS", "OS"),
    Column("compliance", "判定", "compliance", keep=True),
    Column("encrypted", "暗号化", "encrypted"),
    Column("last_sync", "最終確認", "last sync", short),
)
DETAIL = (*COLUMNS, Column("directory_id", "証明書の名前", "certificate name"))
TenantFile = Annotated[
    Path,
    typer.Option("--tenant", help=t("接続情報のファイル (なければ作成、0600)", "access file, made if absent, 0600")),
]


@shows(group, "serve", "起動する (前面で動作)", "run in the foreground")
def serve(
    call: Call,
    tenant: TenantFile = Path("mdm-sim.json"),
    port: Annotated[int, typer.Option("--port", help=t("ポート (0 は自動)", "port, 0 = any"))] = 0,
    seed: Annotated[int, typer.Option("--seed", help=t("乱数の種", "seed of the world"))] = 20261122,
    empty: Annotated[bool, typer.Option("--empty", help=t("端末なしで始める", "start without devices"))] = False,
) -> None:
    """Serve the sample city's devices over the Graph wire until interrupted."""
    import asyncio

    from mdm_sim import scenarios
    from mdm_sim.server import GraphServer, Tenant

    known = _access(tenant) if tenant.exists() else _new_access()
    access = Tenant(known["tenant_id"], known["client_id"], known["client_secret"])
    world = scenarios.empty(seed) if empty else scenarios.city(call.now, seed)
    try:
        asyncio.run(_serve(call, GraphServer(world, access), tenant, known, port))
    except KeyboardInterrupt:
        tell(t("終了しました。", "ended."))
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"127.0.0.1:{port}: {error.strerror}") from error


async def _serve(call: Call, server: Any, tenant: Path, known: dict[str, str], port: int) -> None:
    import asyncio

    from mdm_sim.server import serve as listen

    runner, chosen = await listen(server, "127.0.0.1", port)
    try:
        base = f"http://127.0.0.1:{chosen}"
        known = {**known, "base_url": base, "token_url": f"{base}/{known['tenant_id']}/oauth2/v2.0/token"}
        write_private(tenant, json.dumps(known, indent=2) + "\n", replace=True)
        secret = tenant.with_suffix(".secret")
        write_private(secret, known["client_secret"] + "\n", replace=True)
        tell(t("動いています。Ctrl-C で終了します。sekisho.toml には:", "running; Ctrl-C ends. For sekisho.toml:"))
        call.lines([
            "[mdm]", f'base_url = "{base}"', f'token_url = "{known["token_url"]}"',
            f'client_id = "{known["client_id"]}"', f'client_secret_file = "{secret.absolute()}"',
        ])  # fmt: skip
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


@lists(group, "ls", "端末の一覧", "list devices")
def ls(call: Call, tenant: TenantFile = Path("mdm-sim.json")) -> None:
    """List devices as the simulated MDM sees them."""
    answer = _ask(tenant, "/_sim/devices", None)
    call.rows(answer["devices"][: call.limit], COLUMNS, t("端末はありません。", "no devices."), len(answer["devices"]))
    if answer["fault"] != "none":
        tell(t(f"不具合を再現中: {answer['fault']}", f"broken on purpose: {answer['fault']}"))


@shows(group, "do", "端末を変化させる (decrypt、jailbreak、heal など)", "change a device: decrypt, jailbreak, heal, …")
def do(
    call: Call,
    verb: Annotated[str, typer.Argument(help=t("動詞 (誤ると一覧を表示)", "verb; a wrong one lists them"))],
    device: Annotated[str, typer.Argument(help=t("端末名", "device"))],
    argument: Annotated[
        str, typer.Argument(help=t("動詞の引数 (時間、日数、状態、利用者)", "hours, days, state, user"))
    ] = "",
    tenant: TenantFile = Path("mdm-sim.json"),
) -> None:
    """Do one verb to one device; `enrol NAME USER` adds one."""
    if verb == "enrol":
        call.one(_ask(tenant, "/_sim/enrol", {"name": device, "user": argument}), DETAIL)
    else:
        call.one(_ask(tenant, "/_sim/do", {"verb": verb, "device": device, "argument": argument}), DETAIL)


@shows(group, "break", "API の不具合を再現する (none で回復)", "break the API; none mends it")
def break_api(
    call: Call,
    kind: Annotated[str, typer.Argument(help=t("不具合の種類 (誤ると一覧を表示)", "kind; a wrong one lists them"))],
    times: Annotated[int, typer.Option("--times", help=t("回数 (0 は変えるまで)", "calls, 0 = until changed"))] = 0,
    tenant: TenantFile = Path("mdm-sim.json"),
) -> None:
    """Put a fault in force."""
    call.one(_ask(tenant, "/_sim/break", {"kind": kind, "times": times or None}))


def _new_access() -> dict[str, str]:
    return {
        "tenant_id": secrets.token_hex(8), "client_id": secrets.token_hex(8),
        "client_secret": secrets.token_urlsafe(32),
    }  # fmt: skip


def _access(tenant: Path) -> dict[str, str]:
    text = read_private(tenant)
    if text is None:
        message = t(
            f"{tenant} がありません。先に sekisho mdm-sim serve を起動してください。", f"no {tenant}; serve first."
        )
        raise Failure(ExitCode.NOT_FOUND, message)
    try:
        known = json.loads(text)
        return {str(name): str(known[name]) for name in known} | {
            name: str(known[name]) for name in ("tenant_id", "client_id", "client_secret")
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(ExitCode.USAGE, t(f"{tenant} を読めません。", f"{tenant} cannot be read.")) from error


def _ask(tenant: Path, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    base = _access(tenant).get("base_url", "")
    data = None if body is None else json.dumps(body).encode()
    request = Request(base + path, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 (our own file's)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_ANSWER_WITHIN) as answer:
            found = json.loads(answer.read())
    except HTTPError as error:
        fault = json.loads(error.read() or b"{}").get("fault", str(error.code))
        raise Failure(ExitCode.FAILED, str(fault)) from error
    except (URLError, OSError, ValueError) as error:
        message = t(f"模擬の端末管理に接続できません ({base})。", f"cannot reach the simulated MDM ({base}).")
        raise Failure(ExitCode.UNREACHABLE, message) from error
    return found if isinstance(found, dict) else {}
