"""May this file be the settings from now on: every reason why not, at once, or what it changes. It only reads.

What it takes to be refused: what `Settings` refuses, a file that a setting names and that does not serve, and a change
that cannot be made under running processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.reloading.effects import Difference, differences, obstacle
from gateway.reloading.files import file_faults
from gateway.settings import Fault, Settings, SettingsFaults
from gateway.settings_parts.faults import key_lines


@dataclass(frozen=True, slots=True)
class Judged:
    """Settings that can be taken up."""

    text: str
    settings: Settings
    changed: tuple[Difference, ...]


def judge(config: Path, running: Settings, now: float) -> Judged:
    """Read and judge `config` against the settings that run. Raises SettingsFaults with everything that speaks against.

    `now` in seconds since the epoch: certificates expire.
    """
    try:
        text = config.read_text(encoding="utf-8")
    except OSError as error:
        fault = Fault(str(config), 0, "(file)", error.strerror or type(error).__name__, "a file that can be read")
        raise SettingsFaults((fault,)) from error
    except UnicodeDecodeError as error:
        raise SettingsFaults((Fault(str(config), 0, "(file)", f"byte {error.start}", "UTF-8"),)) from error
    settings = Settings.parse(text, config)
    lines = key_lines(text)
    changed = differences(running, settings)
    faults = file_faults(settings, lines, config, now)
    for each in changed:
        if expected := obstacle(each):
            faults.append(Fault(str(config), _line(lines, each.key), each.key, each.after or "nothing", expected))
    if faults:
        raise SettingsFaults(tuple(faults))
    return Judged(text, settings, changed)


def _line(lines: dict[tuple[str, ...], int], key: str) -> int:
    names = tuple(key.split("."))
    return next((lines[names[:size]] for size in range(len(names), 0, -1) if names[:size] in lines), 1)
