"""`sekisho demo`: the sample city, whole on this machine; `sekisho demo sign-in | code` use it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.call import Call, tell
from cli.command import guarded, shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

if TYPE_CHECKING:
    from cli.city.document import City

group = typer.Typer(
    invoke_without_command=True, help=t("見本市を動かす (試用)", "run the sample city, to try everything")
)
DEFAULT = Path("demo")
Folder = Annotated[Path, typer.Option("--directory", help=t("見本市の場所", "the city's folder"))]


@group.callback()
def demo(
    context: typer.Context,
    listen: Annotated[
        str, typer.Option("--listen", help=t("待ち受けるアドレス", "address to listen on"))
    ] = "127.0.0.1:8443",
    domain: Annotated[
        str, typer.Option("--domain", help=t("アプリのドメイン", "domain of portal and apps"))
    ] = "sekisho.localhost",
    directory: Folder = DEFAULT,
) -> None:
    """Make the city where there is none yet, run it, stop it with Ctrl-C."""
    if context.invoked_subcommand is not None:
        # `demo --directory D code` means D as much as `demo code --directory D` does.
        context.default_map = {verb: {"directory": str(directory)} for verb in ("sign-in", "code")}
    else:
        guarded(lambda: _run(directory, listen, domain))


@shows(
    group,
    "sign-in",
    "ブラウザーのようにサインインし、curl 用の Cookie を書く",
    "sign in over HTTP, write curl's cookies",
)
def sign_in(
    call: Call,  # noqa: ARG001  # every command has one
    user: Annotated[str, typer.Option("--user", "-u", help=t("職員ID", "login"))],
    cookie_jar: Annotated[Path, typer.Option("--cookie-jar", help=t("Cookie の保存先", "file for the cookies"))],
    device: Annotated[
        str, typer.Option("--device", help=t("端末名 (なければ登録外の端末)", "device, none = unknown"))
    ] = "",
    app: Annotated[list[str] | None, typer.Option("--app", help=t("アプリ (既定はすべて)", "app, default all"))] = None,
    source: Annotated[
        str, typer.Option("--from", help=t("接続元 (127.0.3.1 はテレワーク)", "address to come from"))
    ] = "",
    directory: Folder = DEFAULT,
) -> None:
    """Sign in and write the cookie jar."""
    from cli.city import cookie_jar as jar
    from cli.city import document
    from cli.city.sign_in import SignInFailed, browser, visit_apps
    from cli.city.sign_in import sign_in as enter

    city = document.read(directory)
    person = city.person(user)
    machine = city.device(device) if device else None
    apps = tuple(app) if app else tuple(each.id for each in city.apps)

    async def main() -> tuple[int, dict[str, int]]:
        async with browser(city, machine, source) as visitor:
            await enter(visitor, city, person)
            found = await visit_apps(visitor, city, apps)
            return jar.write(cookie_jar, visitor.jar), found

    try:
        count, found = asyncio.run(main())
    except SignInFailed as error:
        raise Failure(ExitCode.NOT_ALLOWED, str(error)) from error
    except OSError as error:
        message = t("見本市に接続できません。sekisho demo は動いていますか。", "cannot reach the city; is it running?")
        raise Failure(ExitCode.UNREACHABLE, message, [str(error)]) from error
    tell(t(f"{person.name} としてサインインしました (Cookie {count} 個)。", f"signed in as {user}; {count} cookies."))
    tell("", [f"{city.app(name).url}  {status}" for name, status in found.items()])
    tell(_curl(city, cookie_jar, device, apps[0]))


@shows(group, "code", "認証アプリの今の確認コード", "the current code of an authenticator app")
def code(
    call: Call,
    user: Annotated[str, typer.Option("--user", "-u", help=t("職員ID", "login"))],
    directory: Folder = DEFAULT,
) -> None:
    """Show the code of this moment and how long it lives."""
    import pyotp

    from cli.city import document
    from cli.city.sign_in import STEP

    person = document.read(directory).person(user)
    left = STEP - int(call.now) % STEP
    shown = pyotp.TOTP(person.totp_secret).at(int(call.now))
    call.one({"login": person.login, "code": shown, "seconds_left": left})


def _run(directory: Path, listen: str, domain: str) -> None:
    import signal
    import time

    from cli.city import build, document, welcome
    from cli.city.processes import running

    folder = directory.absolute()
    if build.is_built(folder):
        city = document.read(folder)
        tell(t(f"{folder} の見本市を再開します。", f"resuming the city in {folder}."))
    else:
        tell(t(f"{folder} に見本市を作ります(数秒)。", f"making the city in {folder}, some seconds."))
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise Failure(ExitCode.USAGE, f"--listen: got {listen}, expected IP:port")
        city = build.build(build.Site(folder, host, int(port), domain), time.time())
    with running(city) as group:
        welcome.show(city)
        stop = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)
        while signal.sigtimedwait(stop, 1.0) is None:
            dead = group.dead()
            if dead:
                raise Failure(
                    ExitCode.FAILED, t(f"{dead} が終了しました。", f"{dead} ended."), [f"{folder}/logs/{dead}.log"]
                )
        tell(t("止めています。", "stopping."))


def _curl(city: City, jar: Path, device: str, app: str) -> str:
    machine = city.device(device) if device else None
    shown = f" --cert {machine.certificate} --key {machine.key}" if machine else ""
    host, _, port = city.address.rpartition(":")
    to = f"--connect-to ::{host}:{port} --cacert {city.ca_file}"
    return f"curl {to} -b {jar}{shown} {city.app(app).url}"
