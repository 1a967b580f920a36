"""The settings of one installation: `sekisho.toml` and `SEKISHO_*` variables, read once into a frozen value.

A variable overrides the file: `SEKISHO_PORTAL__PORT=443` is `port` of `[portal]`. Nothing is read at import.
There is no setting that turns sign-in, MFA, locks or default deny off.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from gateway.settings_parts.bounds import JournalSettings, Limits, RetentionSettings, Sessions, SignIn, Timeouts
from gateway.settings_parts.faults import Fault, SettingsFaults, environment_faults, syntax_fault, value_faults
from gateway.settings_parts.field import HostName, SecretPath, Section, required, setting
from gateway.settings_parts.listeners import Listeners
from gateway.settings_parts.outlets import Outlets
from gateway.settings_parts.services import Alerts, Elasticsearch, Mdm, Witness
from gateway.settings_parts.upstreams import Upstreams

__all__ = ["Fault", "Settings", "SettingsFaults"]

ENVIRONMENT_PREFIX = "SEKISHO_"
STORE_FILE = "sekisho.db"
_A_MINUTE_EACH = 8  # requests in a minute for each worker: one more of each is then an eighth at most
_SOCKET_PATH_BYTES = 107  # sizeof(sun_path) - 1, unix(7)

ModelT = TypeVar("ModelT", bound=BaseModel)


class Portal(Section):
    """The portal: its name and the passkeys' RP ID are permanent."""

    host: HostName = required("ポータルの名前。変更できない", "庁内と外で同じ名前を使う(split DNS)")
    port: int = setting(443, "利用者のブラウザーから見えるポート", "https の既定", ge=1, le=65_535)
    hsts_max_age: int = setting(
        31_536_000, "ブラウザーがこの名前に https だけを使い続ける時間(HSTS)。0 で忘れさせる",
        "1年。平文への誘導を最初の1回に限る", unit="s", ge=0, le=63_072_000,
    )  # fmt: skip
    rp_id: HostName = required("パスキーの RP ID。変更できない", "変えると全員のパスキーが使えなくなる")
    organisation: str = required("画面に出す組織名", "利用者が正しい画面か確かめられる", min_length=1, max_length=100)
    help_contact: str = required("困ったときの連絡先", "P7:拒否の画面は必ず連絡先を示す", min_length=1, max_length=200)
    default_language: Literal["ja", "en"] = setting("ja", "ブラウザーが言語を示さないときの言語", "職員の言語")

    @property
    def origin(self) -> str:
        """The portal's web origin (RFC 6454): https, with the port unless it is 443."""
        return f"https://{self.host}" if self.port == 443 else f"https://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _rp_id_covers_host(self) -> Self:
        if self.host != self.rp_id and not self.host.endswith("." + self.rp_id):
            raise ValueError("rp_id equal to host or a parent domain of it (WebAuthn §5.1.2)")
        return self


class Paths(Section):
    """Folders of the installation; relative ones count from the folder of `sekisho.toml`."""

    keys: SecretPath = setting(Path("keys"), "鍵の場所。credential: なら systemd が渡すもの", "0700 の専用フォルダー")
    tls: Path = setting(Path("tls"), "サーバー証明書の場所", "0700 の専用フォルダー")
    device_ca: Path = setting(Path("device-ca"), "端末の認証局の場所", "別に保管できる")
    state: Path = setting(Path("state"), "データベースの場所", "同期書き込みができるディスク")
    journal: Path = setting(Path("journal"), "記録の場所", "専用のディスクを勧める")
    log: Path = setting(Path("log"), "記録の証明(Merkle ログ)の場所", "別のディスクに写せる")
    run: Path = setting(Path("run"), "プロセスの間のソケットの場所", "再起動で消えてよい")

    @property
    def store(self) -> Path:
        """The database that the steward writes."""
        return self.state / STORE_FILE

    @property
    def steward_socket(self) -> Path:
        """Where the steward takes commands."""
        return self.run / "steward.sock"

    @property
    def feed_socket(self) -> Path:
        """Where the steward tells the workers what changes."""
        return self.run / "feed.sock"

    @property
    def control_socket(self) -> Path:
        """Where control serves pages to the workers."""
        return self.run / "control.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor takes a reload."""
        return self.run / "supervisor.sock"

    @property
    def admin_socket(self) -> Path:
        """Where control serves the admin API to the command line."""
        return self.run / "admin.sock"


class Workers(Section):
    """The processes on the request path."""

    count: int = setting(2, "ワーカーの数", "1つが止まってもサービスが続く", unit="個", ge=1, le=64)
    recycle_after: float = setting(
        604_800.0, "ワーカーを新しいものに入れ替えるまで。1つずつ。0 は入れ替えない",
        "何週間も動くプロセスの、断片になったメモリーを返す", unit="s", ge=0, le=31_536_000,
    )  # fmt: skip


class Settings(BaseSettings):
    """Everything an operator may choose."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    portal: Portal = required("ポータル", "")
    paths: Paths = setting(Paths(), "フォルダー", "")
    workers: Workers = setting(Workers(), "ワーカー", "")
    listeners: Listeners = required("待ち受け", "")
    limits: Limits = setting(Limits(), "量の上限", "")
    timeouts: Timeouts = setting(Timeouts(), "時間の上限", "")
    upstreams: Upstreams = setting(Upstreams(), "アプリへの接続", "")
    sessions: Sessions = setting(Sessions(), "セッション", "")
    sign_in: SignIn = setting(SignIn(), "サインイン", "")
    journal: JournalSettings = setting(JournalSettings(), "記録", "")
    retention: RetentionSettings = setting(RetentionSettings(), "記録の保存期間", "")
    mdm: Mdm | None = setting(None, "端末管理。書かなければ端末の状態は「不明」", "")
    elasticsearch: Elasticsearch | None = setting(None, "Elasticsearch。書かなければ内蔵の検索だけ", "")
    witness: Witness | None = setting(None, "記録の証人。書かなければ署名するのは自分だけ", "")
    outlets: Outlets | None = setting(None, "記録のほかの送り先", "")
    alerts: Alerts | None = setting(None, "通知", "")

    _root: Path = PrivateAttr(default=Path())

    @property
    def root(self) -> Path:
        """The folder of `sekisho.toml`, absolute."""
        return self._root

    @property
    def auditor_state(self) -> Path:
        """The folder of what the auditor remembers beside the log: detection, the index, the way to Elasticsearch."""
        return self.paths.state / "auditor"

    @property
    def log_origin(self) -> str:
        """The origin line of the log's checkpoints (C2SP tlog-checkpoint), which is also the name of its key."""
        return f"{self.portal.host}/log"

    @model_validator(mode="after")
    def _someone_can_connect(self) -> Self:
        if not (self.listeners.public or self.listeners.behind or self.listeners.loopback):
            raise ValueError("at least one of listeners.public, listeners.behind, listeners.loopback")
        return self

    @model_validator(mode="after")
    def _each_worker_has_a_part(self) -> Self:
        """A worker lets one request pass without asking the others: few a minute cannot be shared by many workers."""
        least = _A_MINUTE_EACH * self.workers.count
        rates = self.limits.rates()
        small = [kind for kind, rate in rates.items() if rate.per_second * 60 + rate.burst < least]
        if small and self.workers.count > 1:
            names = ", ".join(f"limits.{kind}_rate" for kind in small)
            raise ValueError(
                f"{names} with per_second × 60 + burst of at least {_A_MINUTE_EACH} × workers.count = {least}"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings passes every source by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take variables first, then the file; nothing else is looked at."""
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; raises SettingsFaults with every fault at once, and OSError if it cannot be read."""
        return cls.parse(path.read_text(encoding="utf-8"), path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """Take `text` as the content of `path`, which need not exist; raises SettingsFaults."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsFaults((syntax_fault(path, text, error),)) from None
        faults = environment_faults(os.environ, ENVIRONMENT_PREFIX, frozenset(cls.model_fields))
        settings: Self | None = None
        try:
            settings = cls(**data)
        except SettingsError as error:
            faults += (Fault("environment", 0, ENVIRONMENT_PREFIX + "*", "a value that is not JSON", str(error)),)
        except ValidationError as error:
            faults += value_faults(error, path, text, os.environ, ENVIRONMENT_PREFIX)
        if settings is not None:
            settings = _rooted(settings, path.resolve().parent)
            faults += _socket_faults(settings, path)
        if faults or settings is None:
            raise SettingsFaults(faults)
        settings._root = path.resolve().parent  # noqa: SLF001  # the class fills its own value
        return settings


def _rooted(model: ModelT, root: Path) -> ModelT:
    """Return `model` with every path in it absolute, counted from `root`."""
    update: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            update[name] = root / value
        elif isinstance(value, BaseModel):
            update[name] = _rooted(value, root)
        elif isinstance(value, tuple):
            update[name] = tuple(_rooted(each, root) if isinstance(each, BaseModel) else each for each in value)
    return model.model_copy(update=update)


def _socket_faults(settings: Settings, path: Path) -> tuple[Fault, ...]:
    longest = len(os.fsencode(settings.paths.control_socket))
    if longest <= _SOCKET_PATH_BYTES:
        return ()
    expected = f"a folder whose sockets' paths have at most {_SOCKET_PATH_BYTES} bytes"
    return (Fault(str(path), 0, "paths.run", f"{longest} bytes", expected),)
