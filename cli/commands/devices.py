"""`sekisho devices`: what the MDM tells, devices without one, and the end of a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands import revocation_lists
from cli.commands.sessions import ended
from cli.confirm import carry_out
from cli.language import t
from cli.moments import age, shown
from cli.render.table import Column
from cli.spoken import SpokenGroup

group = typer.Typer(no_args_is_help=True, help=t("端末", "devices"))
group.add_typer(revocation_lists.group, name="crl", cls=SpokenGroup)

_STATES: Mapping[object, tuple[str, str]] = {
    "compliant": ("適合", "compliant"),
    "in_grace": ("猶予中", "in grace"),
    "noncompliant": ("不適合", "noncompliant"),
    "unknown": ("不明", "unknown"),
}
_FAILING: Mapping[str, tuple[str, str]] = {
    "disk_encryption": ("ディスク暗号化", "disk encryption"),
    "jailbreak": ("OS の改造", "jailbreak"),
    "mdm_policy": ("MDM の基準", "MDM policy"),
}


def _state(value: object) -> str:
    ja, en = _STATES.get(value, (str(value), str(value)))
    return t(ja, en)


def _owner(value: object) -> str:
    return str(value) if value else t("(共用)", "(shared)")


def _failing(value: object) -> str:
    names = [str(name) for name in value] if isinstance(value, (list, tuple)) else []
    return t("、", ", ").join(t(*_FAILING.get(name, (name, name))) for name in names)


def _three(value: object) -> str:
    if value is None:
        return t("不明", "unknown")
    return t("はい", "yes") if value else t("いいえ", "no")


COLUMNS = (
    Column("name", "端末名", "name", keep=True),
    Column("owner", "利用者", "owner", _owner),
    Column("os", "OS", "OS"),
    Column("state", "状態", "state", _state, keep=True),
    Column("failing", "不足", "failing", _failing),
    Column("seen_age", "MDM確認", "seen", age, keep=True),
    Column("read_age", "読取り", "read", age, keep=True),
)
DETAIL = (
    Column("owner", "利用者", "owner", _owner),
    Column("state", "状態", "state", _state),
    Column("managed", "MDMの管理下", "managed", _three),
    Column("compliant", "適合", "compliant", _three),
    Column("in_grace", "猶予中", "in grace", _three),
    Column("encrypted", "ディスク暗号化", "encrypted", _three),
    Column("jailbroken", "OSの改造", "jailbroken", _three),
    Column("failing", "不足", "failing", _failing),
    Column("patched_at", "更新プログラム", "patched", shown),
    Column("seen_at", "MDMの最終確認", "seen by MDM", shown),
    Column("read_at", "読み取り", "read", shown),
    Column("seen_age", "確認からの時間", "seen age", age),
    Column("read_age", "読み取りからの時間", "read age", age),
)
REVOKED = (
    Column("device", "端末名", "device"),
    Column("owner", "利用者", "owner", _owner),
    Column("serial", "証明書", "serial"),
)
DeviceName = Annotated[
    str, typer.Argument(help=t("端末 (ID、証明書の名前、端末名)", "device: id, certificate name or name"))
]


@lists(group, "ls", "端末の一覧", "list devices")
def ls(
    call: Call,
    owner: Annotated[str, typer.Option("--owner", help=t("職員ID", "login"))] = "",
    state: Annotated[str, typer.Option("--state", help="compliant | in_grace | noncompliant | unknown")] = "",
) -> None:
    """List devices."""
    answer = call.client().get("/v1/devices", owner=owner, state=state, limit=call.limit)
    empty = t("端末はありません。MDM の設定は sekisho.toml の [mdm] です。", "no devices; the MDM is set in [mdm].")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "端末の詳細", "show one device")
def show(call: Call, device: DeviceName) -> None:
    """Show one device."""
    answer = call.client().get(f"/v1/devices/{segment(device)}")
    answer.pop("request_id", None)
    call.one(answer, DETAIL)


@changes(group, "add", "端末を手で登録 (MDM がないとき)", "register a device by hand, without an MDM")
def add(
    call: Call,
    name: Annotated[str, typer.Argument(help=t("端末名", "name"))],
    owner: Annotated[str, typer.Option("--owner", help=t("職員ID (空は共用)", "login, empty = shared"))] = "",
    os: Annotated[str, typer.Option("--os", help="OS")] = "",
    uuid: Annotated[str, typer.Option("--uuid", help=t("証明書の名前 (空なら採番)", "name in its certificate"))] = "",
) -> None:
    """Register a device."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/devices", {"name": name, "owner": owner, "os": os, "uuid": uuid, **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        return t(f"端末 {rows[0]['name']} を登録します。", f"registers the device {rows[0]['name']}."), name

    answer = carry_out(call, send, COLUMNS[:3], question)
    if answer is not None:
        device = answer["device"]
        tell(t(f"登録しました。証明書の名前 (CN): {device['uuid']}", f"registered; certificate name: {device['uuid']}"))
        call.one({"id": device["id"], "uuid": device["uuid"], "name": device["name"]})


@changes(group, "revoke-certificate", "端末証明書を失効 (通信中の接続も切断)", "revoke a device certificate")
def revoke_certificate(
    call: Call,
    device: DeviceName,
    serial: Annotated[str, typer.Argument(help=t("シリアル番号 (16進)", "serial number, hex"))],
    issuer: Annotated[
        str,
        typer.Option(
            "--issuer",
            help=t(
                "発行した認証局 (名前)。複数を信頼しているとき。any はすべて",
                "issuing authority, where several are trusted; or any",
            ),
        ),
    ] = "",
    receipt: Annotated[Path | None, typer.Option("--receipt", help=t("受領証の保存先", "file for the receipt"))] = None,
) -> None:
    """Revoke one certificate."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(
            f"/v1/devices/{segment(device)}/revoke-certificate", {"serial": serial, "issuer": issuer, **shared}
        )

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        label = str(rows[0]["device"])
        return t(f"{label} の端末証明書を失効させます。", f"revokes a certificate of {label}."), label

    answer = carry_out(call, send, REVOKED, question)
    if answer is not None:
        tell(t(f"証明書 {answer['serial']} は失効しました。", f"certificate {answer['serial']} is revoked."))
        ended(call, answer, receipt)
