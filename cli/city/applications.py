"""The apps behind the sample city's gateway: how each is started, and what its owner registers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
_GROUPWARE, _GENAI = "groupware", "genai"


@dataclass(frozen=True, slots=True)
class Application:
    """One app. `registration` holds the keys of `app.yaml` that are its own."""

    id: str
    title: str
    owner: str
    registration: str
    sample: str = "/"  # a page worth opening


APPLICATIONS: tuple[Application, ...] = (
    Application(
        "juki", "住民記録", "suzuki",
        "sensitivity: 3A\nbusiness: 住民基本台帳\npresets: [jwt, remote-user]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST]\nmasked_paths: [/residents/*, /residents/*/edit]",
        "/residents/100001",
    ),
    Application(
        "zeimu", "税務", "tanaka",
        "sensitivity: 3B\nbusiness: 市税の賦課徴収\npresets: [jwt, remote-user]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST]",
    ),
    Application(
        "zaimu", "財務会計", "watanabe",
        "sensitivity: 3C\nbusiness: 予算・支出・支払\npresets: [jwt, remote-user]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST]",
    ),
    Application(
        _GROUPWARE, "グループウェア", "kobayashi",
        "sensitivity: '2'\nbusiness: 連絡と予定\npresets: [jwt]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST, OPTIONS]\npreflight: {{ origins: ['{genai}'] }}",
    ),
    Application(
        "bunsho", "文書管理", "kobayashi",
        "sensitivity: '2'\nbusiness: 起案と決裁\npresets: [jwt, remote-user]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST]\nhost_header: upstream",
    ),
    Application(
        _GENAI, "生成AI", "nakamura",
        "sensitivity: '2'\nbusiness: 文章作成の補助\npresets: [jwt, remote-user]\nhealth_path: /health\n"
        "methods: [GET, HEAD, POST]",
    ),
    Application(
        "tokei", "統計データ", "nakamura",
        "sensitivity: '2'\nbusiness: 統計の閲覧\npresets: [jwt]\nhealth_path: /-/versions.json\nmethods: [GET, HEAD]",
        "/toukei/population",
    ),
)  # fmt: skip


def origin(app: str, domain: str, port: int) -> str:
    """The app's public web origin."""
    return f"https://{app}.{domain}" + ("" if port == 443 else f":{port}")


def registrations(domain: str, port: int, ports: Mapping[str, int]) -> str:
    """The `app.yaml` of all apps, one document each; `ports` are the apps' own on loopback."""
    documents = []
    for app in APPLICATIONS:
        own = app.registration.format(genai=origin(_GENAI, domain, port)) if "{genai}" in app.registration else None
        documents.append(
            f"id: {app.id}\ntitle: {app.title}\nowner: {app.owner}\ncontact: 情報政策課(内線 1234)\n"
            f"hosts: [{app.id}.{domain}]\nupstream: http://127.0.0.1:{ports[app.id]}\n{own or app.registration}\n"
        )
    return "---\n".join(documents)


def command(app: str, folder: Path, domain: str, port: int, own_port: int) -> list[str]:
    """The command line that starts one app; `folder` holds the JWKS document and the statistics."""
    if app == "tokei":
        database = str(folder / "toukei.db")
        return [sys.executable, "-m", "datasette", "serve", database, "--host", "127.0.0.1", "--port", str(own_port)]
    arguments = [sys.executable, str(EXAMPLES / f"{app}.py"), str(own_port)]
    if app == _GROUPWARE:
        arguments += [str(folder / "jwks.json"), _GROUPWARE, origin(_GENAI, domain, port)]
    elif app == _GENAI:
        arguments.append(origin(_GROUPWARE, domain, port))
    return arguments
