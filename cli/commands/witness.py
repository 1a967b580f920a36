"""`sekisho witness`: be the second party that cosigns another installation's checkpoints (C2SP tlog-witness)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.call import Call, tell
from cli.command import lists, shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import shown
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("ほかの組織の記録の証人", "witness of another log"))

_FOUND = {
    "rolled_back": ("巻き戻し", "rolled back"),
    "forked": ("分岐", "forked"),
    "unproved": ("連続の証明なし", "not proved to grow"),
}


def _findings(found: object) -> str:
    if not isinstance(found, dict) or not found:
        return t("なし", "none")
    return ", ".join(f"{t(*_FOUND.get(kind, (kind, kind)))} {count}" for kind, count in sorted(found.items()))


SEEN = (
    Column("origin", "記録", "log", keep=True),
    Column("size", "件数", "size"),
    Column("time", "連署した時刻", "cosigned at", shown),
    Column("root", "ルート", "root"),
    Column("findings", "拒んだ矛盾", "contradictions refused", _findings, keep=True),
    Column("last_finding", "直近の矛盾", "latest of them", shown),
)
StateFolder = Annotated[Path, typer.Option("--state", help=t("覚えておく場所", "folder of what it remembers"))]
KeyFile = Annotated[Path, typer.Option("--key", help=t("証人の鍵 (0600)", "the witness's key, 0600"))]


@shows(group, "keygen", "証人の鍵を作る", "make a witness's key")
def keygen(
    call: Call,
    name: Annotated[str, typer.Option("--name", help=t("証人の名前 (例 witness.pref.example.jp)", "its name"))],
    key: KeyFile,
) -> None:
    """Write a new key, never over another one, and show the public one: logs are told that."""
    from audit.checkpoint import generate_cosigner
    from audit.durable import sync_directory
    from gateway.new_files import PUBLIC_FILE, write_new

    try:
        made = generate_cosigner(name)
        write_new(key, f"{made.encode()}\n".encode())
        write_new(key.with_suffix(".pub"), f"{made.verifier.encode()}\n".encode(), PUBLIC_FILE)
        sync_directory(key.absolute().parent)
    except FileExistsError as error:
        message = t(f"{error.filename} は既にあります。上書きしません。", f"{error.filename} exists and is kept.")
        raise Failure(ExitCode.CONFLICT, message) from error
    except ValueError as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{error.filename}: {error.strerror}") from error
    call.one({"verifier": made.verifier.encode(), "key": str(key)})


@shows(group, "serve", "起動する (前面で動作)", "run in the foreground")
def serve(
    call: Call,  # noqa: ARG001  # every command has one
    listen: Annotated[str, typer.Option("--listen", help=t("待ち受けるアドレス IP:ポート", "HOST:PORT"))],
    state: StateFolder,
    key: KeyFile,
    log: Annotated[list[str], typer.Option("--log", help=t("記録の公開鍵 (何度でも)", "a log's key, repeatable"))],
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help=t("TLS の証明書 (PEM)", "certificate"))] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help=t("TLS の秘密鍵 (PEM)", "its key"))] = None,
) -> None:
    """Cosign these logs' checkpoints until interrupted; what was rolled back or forked is refused and written down."""
    import os

    words = ["--listen", listen, "--state", str(state), "--key", str(key)]
    words += [word for each in log for word in ("--log", each)]
    for option, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key)):
        words += () if path is None else (option, str(path))
    command = [sys.executable, "-m", "audit.witness.server", *words]
    if sys.platform == "win32":
        message = t("証人は Linux か macOS で動きます。", "a witness runs on Linux or macOS.")
        raise Failure(ExitCode.FAILED, message)
    os.execv(sys.executable, command)  # noqa: S606  # this process becomes the witness: signals and status are its own


@lists(group, "ls", "証人が覚えている記録と、拒んだ矛盾", "what it remembers and refused")
def ls(call: Call, state: StateFolder) -> None:
    """List the logs that a witness here cosigned."""
    from audit.witnesses import remembered

    try:
        rows = remembered(state)
    except FileNotFoundError as error:
        raise Failure(ExitCode.NOT_FOUND, t(f"{state} がありません。", f"{state} does not exist.")) from error
    except (ValueError, KeyError) as error:
        raise Failure(ExitCode.INTEGRITY, f"{state}: {error!r}") from error
    call.rows(rows, SEEN, t("まだ何も連署していません。", "nothing cosigned yet."))
    bad = [row["origin"] for row in rows if row["findings"]]
    if bad:
        tell(t("拒んだ矛盾があります。証拠は *.findings.json にあります。", "the evidence lies in *.findings.json."))
