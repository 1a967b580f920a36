"""A whole gateway with its real processes, for tests that sign people in: portal, one app host, a small upstream."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

from gateway import installation
from gateway.first_state import FirstAccount
from gateway.identity.digests import KeyedDigests
from gateway.identity.provisioning import new_setup_code
from gateway.settings import Settings
from gateway.state.records import App, AppState, Lock, PolicyState, PolicyVersion, User
from gateway.state.steward_client import StewardClient
from policies.versions import policy_hash
from tests.support.canary_watch import CANARIES
from tests.support.patience import PATIENT
from tests.support.ports import free_port

POLICY = """
version: 1
metadata: { id: test, revision: 1, title: 試験, owner: 情報政策課 }
zones: { office: [127.0.0.0/8] }
rules:
  - id: forms
    effect: allow
    owner: 情報政策課
    description: 職員は申請フォームを利用できる
    when: { app: [forms], user.groups: { any_of: [staff] } }
    require: [ { mfa.age: { max: 12h } } ]
  - id: zaimu
    effect: allow
    owner: 会計課
    description: 職員は財務会計を利用できる（支払と確認は別の規則）
    when: { app: [zaimu], user.groups: { any_of: [staff] } }
    require: [ { mfa.age: { max: 12h } } ]
  - id: zaimu-payment
    effect: deny
    owner: 会計課
    description: 支払にはパスキーが要る
    when: { app: [zaimu], http.path: { under: [/shiharai] } }
    unless: { mfa.method: [webauthn], mfa.age: { max: 15m } }
  - id: zaimu-confirmation
    effect: deny
    owner: 会計課
    description: 確認には確認コードが要る
    when: { app: [zaimu], http.path: { under: [/kakunin] } }
    unless: { mfa.method: [totp], mfa.age: { max: 15m } }
  - id: juki
    effect: allow
    owner: 市民課
    description: 職員は準拠端末で住民記録を利用できる
    when: { app: [juki], user.groups: { any_of: [staff] } }
    require:
      - { device.known: true, advice: 市が登録した端末から利用してください }
      - { device.compliant: true }
tests:
  - name: 職員は使える
    given: { app: forms, user.groups: [staff], mfa.age: 1h }
    expect: { effect: allow, rule: forms }
"""
ROOT = Path(__file__).parents[2]
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a letter in hand."""

    user: User
    setup_code: str


class City:
    """A running installation. `app_host` answers with what the upstream saw."""

    def __init__(self, settings: Settings, upstream: str) -> None:
        self.settings = settings
        self.portal = settings.portal.origin
        self.port = settings.portal.port
        self.app_host = "forms.sekisho.localhost"
        self.app = f"https://{self.app_host}:{self.port}"
        self._upstream = upstream
        self._locks: list[str] = []

    def add_person(self, login: str, name: str = "関 所子", **changes: object) -> Person:
        """Put a person with a set-up code into the store, as `sekisho users add` does."""
        values: dict[str, object] = {
            "id": uuid.uuid4().hex, "login": login, "name": name, "email": f"{login}@city.example.jp",
            "department": "情報政策課", "groups": ("staff",), "kind": "staff", "roles": (), "disabled": False,
            "contract_end": None, "language": "", "created_at": time.time(),
        }  # fmt: skip
        user = User(**(values | changes))  # type: ignore[arg-type]
        digests = KeyedDigests.load(self.settings.paths.keys / "sealing.key")
        made = new_setup_code(digests, user.id, time.time())
        self.command("user.put", user=user.to_row())
        self.command("factor.put", factor=made.factor.to_row())
        return Person(user, made.code)

    def add_app(self, title: str = "申請フォーム", host: str = "", business: str = "住民サービス") -> App:
        """Register an app that is served at once."""
        host = host or self.app_host
        app = App(
            id=host.split(".")[0], title=title, owner="ciso", contact="情報政策課", hosts=(host,),
            upstream=self._upstream, upstream_ca="", sensitivity="1", business=business, profile="staff",
            presets=("jwt",), assertion_header="X-Sekisho-Jwt-Assertion", methods=("GET", "HEAD", "POST"),
            host_header="preserve", durability="written", activity="navigation", preflight_origins=(), health_path="/",
            masked_paths=(), state=AppState.ACTIVE, created_by="test", approved_by="test2",
        )  # fmt: skip
        self.command("app.put", app=app.to_row())
        return app

    def use_policy(self, source: str = POLICY) -> None:
        """Put a policy into force."""
        version = PolicyVersion(
            hash=policy_hash(source.encode()), title="試験", source=source, created_by="test", created_at=time.time(),
            state=PolicyState.PROPOSED, approved_by="test2",
        )  # fmt: skip
        self.command("policy.put", version=version.to_row())
        self.command("policy.activate", hash=version.hash, by="test2")

    def lock(self, target: str, target_id: str, message: str) -> None:
        """Put a standing refusal with a message into force."""
        lock = Lock(
            id=uuid.uuid4().hex, target=target, target_id=target_id, message=message, reason="test", created_by="ciso",
            created_at=time.time(), expires_at=None,
        )  # fmt: skip
        self._locks.append(lock.id)
        self.command("lock.add", lock=lock.to_row())

    def unlock_all(self) -> None:
        """Lift every lock that was put here."""
        while self._locks:
            self.command("lock.remove", id=self._locks.pop(), by="ciso", reason="test")

    def command(self, op: str, **arguments: object) -> dict[str, object]:
        """Have the steward carry out one command."""

        async def call() -> dict[str, object]:
            client = StewardClient(self.settings.paths.run / "steward.sock")
            try:
                return await client.call(op, **arguments)
            finally:
                await client.close()

        with ThreadPoolExecutor(1) as elsewhere:  # the caller may be inside an event loop (playwright's)
            return elsewhere.submit(lambda: asyncio.run(call())).result()


@contextmanager
def running_city(
    folder: Path, listen: str = "", settings: Mapping[str, str | int] = MappingProxyType({})
) -> Iterator[City]:
    """Install into `folder`, start every process, stop them in order afterwards.

    `listen` is the address of the public listener where it is not the portal's port; `settings` are further ones.
    """
    port = free_port()
    options = installation.Options(
        directory=folder / "city", portal_host="portal.sekisho.localhost", rp_id="sekisho.localhost",
        organisation="見本市", help_contact="情報政策課(内線 1234)", account=FirstAccount(), port=port,
        listen=listen or f"127.0.0.1:{port}", settings=settings,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as elsewhere:  # the caller may be inside an event loop (playwright's)
        made = elsewhere.submit(lambda: installation.create(installation.plan(options), time.time())).result()
    with _echo() as upstream, _processes(made.settings_file, folder / "log.txt"):
        yield City(Settings.load(made.settings_file), upstream)


@contextmanager
def _processes(config: Path, log: Path) -> Iterator[None]:
    with log.open("w") as errors:
        command = [sys.executable, "-m", "gateway.supervisor", "--config", str(config)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **PATIENT}
        )
        timer = threading.Timer(READY_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            timer.cancel()
            assert line == "ready", log.read_text()
            yield
        finally:
            timer.cancel()
            CANARIES.processes()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say which path came, and set a cookie of the app's own."""
        body = f"<!doctype html><title>app</title><h1>app</h1><p id=path>{self.path}</p>".encode()
        body += f"<p id=cookie>{self.headers.get('Cookie', '')}</p>".encode()
        told = [f"{name}: {value}" for name, value in self.headers.items() if "forward" in name.lower()]
        body += f"<p id=client>{' | '.join(sorted(told))}</p>".encode()
        CANARIES.learn(self.headers.get("X-Sekisho-Jwt-Assertion"), "assertion")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/login"):
            CANARIES.learn("secret-of-this-person", "the app's own cookie")
            self.send_header("Set-Cookie", "legacy=secret-of-this-person; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Keep quiet."""


@contextmanager
def _echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
