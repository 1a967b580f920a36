"""Steps about what is handed out: a proof and a bundle, checked with nothing of the city but its public key."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cli.exit_codes import ExitCode
from cli.tour.stage import Shown, Stage, require

_WITHIN: Final = 60.0  # seconds
_BAD: Final = 1  # exit status of the bundle's verifier


async def proof_of_one_record(stage: Stage) -> Shown:
    """One refusal's record is proven in an empty folder by the public key alone; with one letter changed it is not."""
    away = stage.folder / "proof-away"
    away.mkdir()
    shutil.copy(stage.root / "keys" / "checkpoint.pub", away)
    (made,) = await stage.ask("nobody", "audit", "proof", stage.references[0], "-O", str(away / "it.tlog-proof"))

    verify = [sys.executable, "-m", "cli", "audit", "verify-proof", "it.tlog-proof", "--key", "checkpoint.pub"]
    good = await _run([*verify, "-o", "json"], away)
    require(good.returncode == 0, f"the proof does not hold: {good.stderr}")
    (proven,) = json.loads(good.stdout)
    require(proven["id"] == made["id"] and proven["record"]["event.outcome"] == "failure", "another record is proven")

    path = away / "it.tlog-proof"
    lines = path.read_text(encoding="utf-8").split("\n")
    record = base64.b64decode(lines[1].removeprefix("extra ")).replace(b'"failure"', b'"success"')
    path.write_text("\n".join([lines[0], f"extra {base64.b64encode(record).decode()}", *lines[2:]]), encoding="utf-8")
    forged = await _run(verify, away)
    require(forged.returncode == ExitCode.INTEGRITY, f"a forged record: exit {forged.returncode}, expected 7")
    return Shown(
        "拒否1件の証明を公開鍵だけで検証、1語を書き換えると成り立たない",
        f"{made['id']}、{made['size']} 件のうち {made['index']} 番、{lines.index('') - 3} 段",
    )


async def bundle_in_another_hand(stage: Stage) -> Shown:
    """Yamamoto exports the last hour; its own verifier proves it, and names the record that is changed in a copy."""
    await stage.log_in("yamamoto")
    bundle = stage.folder / "bundle"
    made: dict[str, Any] = await stage.ask(
        "yamamoto", "audit", "bundle", "--period", "1h", "now", "-O", str(bundle), "--reason", "監査委員の照会",
    )  # fmt: skip
    require(made["records"] > 0 and not made["policies_missing"], f"not whole: {made}")
    key = str(stage.root / "keys" / "checkpoint.pub")
    alone = [sys.executable, "-I", "verify.py", "--key", key]
    good = await _run([*alone, "--digest", made["digest"]], bundle)
    require(good.returncode == 0, f"the bundle does not hold: {good.stdout}")

    copy = Path(shutil.copytree(bundle, stage.folder / "bundle-forged"))
    events = copy / "events.ndjson.gz"
    lines = gzip.decompress(events.read_bytes()).splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b'"event.outcome":"failure"' in line)
    body = json.loads(lines[number])["body"]
    lines[number] = lines[number].replace(b'"event.outcome":"failure"', b'"event.outcome":"success"')
    events.write_bytes(gzip.compress(b"".join(lines)))
    forged = await _run(alone, copy)
    named = f"{body['writer']}:{body['epoch']}:{body['seq']}"
    require(forged.returncode == _BAD and named in forged.stdout, f"{named} is not named: {forged.stdout}")

    exported = await stage.ask("yamamoto", "events", "search", "--since", "1h", "--action", "trail.exported")
    require([each["sekisho.export.digest"] for each in exported] == [made["digest"]], "the export is not on record")
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return Shown(
        "証拠一式を同梱の検証プログラムだけで検証、写しの1件を書き換えるとその番号を名指し、書き出しは記録済み",
        f"{made['records']} 件、{size / 1024:.0f} KiB",
    )


async def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own, without anything that leads to the city."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEKISHO_")}
    return await asyncio.to_thread(
        subprocess.run, list(command), cwd=folder, env={**environment, "PYTHONIOENCODING": "utf-8"},
        capture_output=True, text=True, check=False, timeout=_WITHIN,
    )  # fmt: skip
