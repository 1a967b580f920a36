"""Where this run works: settings file, admin socket, token file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

if TYPE_CHECKING:
    from gateway.settings import Settings

CONFIG_VARIABLE = "SEKISHO_CONFIG"
SOCKET_VARIABLE = "SEKISHO_ADMIN_SOCKET"
FILE_NAME = "sekisho.toml"


@dataclass(frozen=True, slots=True)
class Place:
    """The installation a command talks to. `config` as given, None = to be found."""

    config: Path | None

    def settings_file(self) -> Path:
        """The settings file: given, from the environment, or `sekisho.toml` here; raises Failure."""
        given = self.config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
        path = given or Path(FILE_NAME)
        if path.is_dir():
            path = path / FILE_NAME
        if not path.is_file():
            message = t(
                f"設定ファイル {path} がありません。--config か {CONFIG_VARIABLE} で指定してください。",
                f"no settings file {path}: give --config or {CONFIG_VARIABLE}, or create one with sekisho init.",
            )
            raise Failure(ExitCode.USAGE, message)
        return path

    def settings(self) -> Settings:
        """The settings; raises Failure with every fault."""
        from gateway.settings import Settings, SettingsFaults

        path = self.settings_file()
        try:
            return Settings.load(path)
        except SettingsFaults as found:
            lines = [str(fault) for fault in found.faults]
            raise Failure(ExitCode.FAILED, t(f"{path} に誤りがあります。", f"{path} has faults."), lines) from found
        except OSError as error:
            raise Failure(ExitCode.FAILED, f"{path}: {error.strerror}") from error

    def socket(self) -> Path:
        """The admin socket."""
        given = os.environ.get(SOCKET_VARIABLE)
        return Path(given) if given and self.config is None else self.settings().paths.admin_socket

    def token_file(self) -> Path:
        """Where the operator token of this socket is kept, one file an installation."""
        return state_file("token", self.socket())


def state_file(kind: str, of: Path) -> Path:
    """Where this person's file of a kind is kept, one for each path that it is about."""
    base = os.environ.get("XDG_STATE_HOME")
    folder = Path(base) if base else Path.home() / ".local" / "state"
    name = hashlib.sha256(os.fsencode(of.resolve())).hexdigest()[:16]
    return folder / "sekisho" / f"{kind}-{name}"
