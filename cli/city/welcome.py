"""What `sekisho demo` says when the city stands: with colours on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.city.document import City
from cli.language import t
from cli.render.table import Column, table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with a table, with lines, or with both."""

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


_NOTHING_IS_CUT = 200  # columns: a secret that is shortened to fit a narrow terminal is of no use


def show(city: City) -> None:
    """Print the welcome to standard output."""
    if sys.stdout.isatty():
        _rich(list(sections(city)))
    else:
        _plain(list(sections(city)))


def sections(city: City) -> Iterator[Section]:
    """Everything a person needs, in the order of use."""
    folder = Path(city.settings).parent
    yield Section(
        t("見本市の関所が動いています", "The sample city is running"),
        lines=(
            t(f"ポータル  {city.portal}", f"portal  {city.portal}"),
            t(f"待ち受け  {city.address}(この機械だけ)", f"address  {city.address}")
            if city.address.startswith("127.") else t(f"待ち受け  {city.address}", f"address  {city.address}"),
            t(f"すべての値  {folder}/demo.json", f"everything in  {folder}/demo.json"),
            t("止めるには Ctrl-C。もう一度 sekisho demo で同じ町が戻ります。", "Ctrl-C stops; the next run resumes."),
        ),
    )  # fmt: skip
    yield from _accounts(city)
    yield Section(
        t("アプリ", "Apps"), (t("名前", "name"), t("機密性", "level"), "URL"),
        tuple((app.title, app.sensitivity, app.url) for app in city.apps),
    )  # fmt: skip
    yield Section(
        t("端末(証明書の .p12 を取り込むと、その端末になります)", "Devices (import the .p12 to be that device)"),
        (t("端末", "device"), t("利用者", "owner"), "OS", t(".p12 のパスワード", ".p12 password")),
        tuple((each.name, each.owner or t("共用", "shared"), each.os, each.bundle_password) for each in city.devices),
    )
    yield _preparation(city)
    yield _to_try(city, folder)


def _accounts(city: City) -> Iterator[Section]:
    yield Section(
        t("アカウント(見本市の人は全員、架空です)", "Accounts"),
        ("ID", t("氏名", "name"), t("所属", "department"), t("役割", "roles"), t("パスワード", "password")),
        tuple(
            (each.login, each.name, each.department, "・".join(each.roles) or "-", each.password) for each in city.users
        ),
    )
    first = city.set_up
    yield Section(
        t("認証アプリの鍵 (TOTP)", "Keys for an authenticator app (TOTP)"),
        ("ID", t("鍵", "key")),
        tuple((each.login, each.totp_secret) for each in city.users),
        (
            t("確認コードを手元で見る:", "codes:") + f"  sekisho demo code --user sato{_place(city)}",
            t("初回設定を試す:", "first set-up:")
            + f"  {first.url}  ID {first.login}  {t('設定コード', 'code')} {first.code}",
        ),
    )


def _place(city: City) -> str:
    """The option that leads to this city, "" where it is where every command looks."""
    folder = Path(city.settings).parent
    return "" if folder == Path("demo").absolute() else f" --directory {folder}"


def _preparation(city: City) -> Section:
    device = city.devices[0]
    store = "sql:$HOME/.pki/nssdb"
    return Section(
        t("ブラウザーの準備(Linux の Chrome / Chromium。終わったら certutil -D で消せます)", "Prepare the browser"),
        lines=(
            t("1. 認証局を信頼する(この町の名前だけ、30日以内)", "1. trust the CA (this domain only)"),
            f'   certutil -d {store} -A -t "C,," -n sekisho-demo -i {city.ca_file}',
            t("2. 端末証明書を取り込む", "2. import a device certificate"),
            f"   pk12util -d {store} -i {device.bundle} -W {device.bundle_password}",
            t("Windows・macOS では demo-ca.pem と .p12 を開きます。", "elsewhere, open demo-ca.pem and the .p12"),
            f"curl:  sekisho demo sign-in --user sato --device {device.name} --cookie-jar jar{_place(city)}",
        ),
    )  # fmt: skip


def _to_try(city: City, folder: Path) -> Section:
    juki = city.app("juki")
    sekisho = f"sekisho -c {folder}"
    return Section(
        t("試してみる3つのこと", "Three things to try"),
        lines=(
            t(f"1. sato で {juki.sample} を開く。端末証明書のないブラウザーでは、理由と直し方が出ます。",
              f"1. open {juki.sample} as sato; without a device certificate the refusal explains itself."),
            t("2. sato でグループウェアを開いたまま、端末の暗号化を外す。数秒で通信が切れます。",
              "2. keep the groupware open as sato and decrypt the device: the connection ends in seconds."),
            f"   sekisho mdm-sim do decrypt SHIMIN-PC-01 --tenant {city.mdm_sim.access_file}",
            t("3. CISO(yamamoto)として、全部を見て、終わらせて、確かめる。", "3. as the CISO, look, end and verify."),
            f"   {sekisho} login -u yamamoto",
            f"   {sekisho} events search --since 1h",
            f"   {sekisho} sessions revoke --user sato --reason {t('訓練', 'drill')}",
            f"   {sekisho} audit verify",
        ),
    )  # fmt: skip


def _plain(shown: Sequence[Section]) -> None:
    for section in shown:
        print(f"== {section.title}")
        if section.columns:
            print("# " + "\t".join(section.columns))
        for row in section.rows:
            print("\t".join(row))
        for line in section.lines:
            print(line)
        print(flush=True)


def _rich(shown: Sequence[Section]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=_NOTHING_IS_CUT)
    for section in shown:
        console.print(Text(section.title, style="bold blue"))
        if section.columns:
            columns = [Column(name, name, name, keep=True) for name in section.columns]
            console.print(table([dict(zip(section.columns, row, strict=True)) for row in section.rows], columns))
        for line in section.lines:
            console.print(Text(line, overflow="fold"), soft_wrap=True)
        console.print()
