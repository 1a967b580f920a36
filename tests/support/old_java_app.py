"""A real Tomcat with the app of `tests/java/OldApp.java`: addresses carry the session, paths are Shift_JIS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.real_parts import missing

JARS: Final = Path("/usr/share/java")
SOURCE: Final = Path(__file__).parents[1] / "java" / "OldApp.java"


@dataclass(frozen=True)
class OldJavaApp:
    """The running app."""

    port: int
    folder: Path

    def seen(self) -> list[tuple[str, str, bool]]:
        """Each request it served: the address as it came, the path as it decoded it, whether the session came in it."""
        rows = (self.folder / "seen").read_text(encoding="utf-8").splitlines()
        return [
            (address, path, by_address == "true") for address, path, by_address in (row.split("\t") for row in rows)
        ]


@contextlib.asynccontextmanager
async def old_java_app(java: Path, folder: Path) -> AsyncIterator[OldJavaApp]:
    """Run it within the block; without Tomcat's jars the test is skipped, in CI it fails."""
    jars = sorted(JARS.glob("tomcat10-*.jar"))
    if not jars:
        missing("Tomcat (libtomcat10-java)")
    process = await asyncio.create_subprocess_exec(
        java, "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", ":".join(map(str, jars)), SOURCE, folder,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(90):
            said = await process.stdout.readline()
        assert said.strip().isdigit(), "Tomcat does not start"
        yield OldJavaApp(int(said), folder)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
