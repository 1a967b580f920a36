"""`sekisho es dashboards`: what Kibana shows of the copy, as a file to import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.call import Call, tell
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

_SENSITIVE = "3"  # how the sensitivities 3A, 3B and 3C begin


def dashboards(
    call: Call,
    to: Annotated[Path, typer.Option("--output-file", "-O", help=t("書き出し先 (- = 標準出力)", "file, - = stdout"))],
    app: Annotated[
        list[str] | None,
        typer.Option("--app", help=t("機密性3の業務 (省けば登録から)", "3A-3C apps; else as registered")),
    ] = None,
) -> None:
    """Write one NDJSON; the apps of 機密性 3A-3C are asked of the server unless they are named."""
    from audit.dashboards import LABELS, boards
    from audit.kibana import ndjson

    made = boards(app or _registered(call))
    content = ndjson(made, LABELS)
    try:
        if str(to) == "-":
            sys.stdout.buffer.write(content)
        else:
            to.write_bytes(content)
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{to}: {error.strerror}") from error
    words = "Kibana (8.8 以降) の「保存されたオブジェクト」でインポートします。"
    english = f"{len(made)} dashboards; import them in Kibana (8.8 or later), Saved Objects."
    tell(t(f"ダッシュボード {len(made)} 面を書き出しました。{words}", english))


def _registered(call: Call) -> list[str]:
    rows = call.client().get("/v1/apps", limit=1000)["items"]
    return sorted(str(row["id"]) for row in rows if str(row["sensitivity"]).startswith(_SENSITIVE))
