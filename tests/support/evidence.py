"""Evidence bundles for tests: made by the real child process, verified by the stand-alone verifier, and forged."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_CRYPTOGRAPHY = ("cryptography", "cffi", "_cffi_backend", "pycparser")
_ALONE = """
import sys
sys.path.insert(0, {libraries!r})
sys.argv = {arguments!r}
sys.stdout.reconfigure(encoding={encoding!r})
sys.stderr.reconfigure(encoding={encoding!r})
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def make(
    trail_folder: Path, target: Path, selection: Mapping[str, Any], policies: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Make a bundle of `journal`, `log` and `key.pub` in `trail_folder`; returns the child's last word."""
    job = {
        "journals": str(trail_folder / "journal"), "log": str(trail_folder / "log"), "selection": selection,
        "key": str(trail_folder / "key.pub"), "about": {"reason": "照会"}, "count_only": False,
    }  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "audit.bundle.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()
        done: dict[str, Any] = {}
        for line in child.stdout:
            said = json.loads(line)
            if "named" in said:
                child.stdin.write(json.dumps({"policies": policies or {}, "receipts": {}}).encode() + b"\n")
                child.stdin.flush()
            elif "file" in said:
                path = target / said["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(base64.b64decode(said["data"]))
            done = said.get("done", done)
        child.stdin.close()
        assert child.wait() == 0
    return done


def verified(bundle: Path, *arguments: str, libraries: Path, encoding: str = "utf-8") -> tuple[int, str]:
    """Run the bundle's verifier in an interpreter that can import nothing but `cryptography`."""
    if not libraries.is_dir():
        libraries.mkdir()
        for place in filter(None, sys.path):
            for name in _CRYPTOGRAPHY:
                for found in Path(place).glob(f"{name}*"):
                    if not (libraries / found.name).exists():
                        (libraries / found.name).symlink_to(found)
    given = [str(bundle / "verify.py"), *arguments]
    script = _ALONE.format(libraries=str(libraries), arguments=given, encoding=encoding)
    command = [sys.executable, "-I", "-S", "-X", "utf8=0", "-c", script]
    done = subprocess.run(command, cwd=bundle, check=False, capture_output=True, env={"PATH": os.environ["PATH"]})
    return done.returncode, (done.stdout + done.stderr).decode(encoding)


def lines(path: Path) -> list[bytes]:
    """The lines of a compressed file."""
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def rewritten(bundle: Path, name: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of one of the bundle's compressed files."""
    path = bundle / f"{name}.ndjson.gz"
    path.write_bytes(gzip.compress(b"".join(change(lines(path)))))


def signed_off(bundle: Path) -> None:
    """Make the manifest fit what is there, as a forger would."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    writers: dict[str, int] = {}
    for line in lines(bundle / "events.ndjson.gz"):
        writer = line.partition(b'"writer":"')[2].partition(b'"')[0].decode() or "worker-0"
        writers[writer] = writers.get(writer, 0) + 1
    files = {
        file.relative_to(bundle).as_posix(): {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size,
        }
        for file in bundle.rglob("*") if file.is_file() and file != path
    }  # fmt: skip
    manifest |= {"writers": writers, "records": sum(writers.values()), "files": files}
    path.write_text(json.dumps(manifest))
