"""`app.yaml` → `App` records: every fault of a file at once, each with file:line:column.

A file may hold several documents (`---`), one app each. What a registration may not take is decided here: hosts of the
portal or of another app, addresses instead of names, upstream URLs that carry more than an origin.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from gateway.apps.form import AppForm
from gateway.apps.source import Document, Fault, Path, SourceFaults, read_documents
from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS
from gateway.state.records import App, AppState, Durability

_SENSITIVE = ("3C", "3B", "3A")  # 機密性3: records are synced before the app sees a byte (design §7)

# What each named exception permits, in the words that the person who approves it reads.
_PERMITTED = {
    JSESSIONID: (
        "例外 path_parameter: jsessionid を認めます。URL の最後の区切りの末尾に限り ;jsessionid=… を 1 つ許し、"
        "判定と記録の前に取り除いて、アプリにだけ渡します。URL を知る人はアプリのセッションを使えるので、"
        "アプリ側をクッキーに切り替えられるまでの間に限ってください。"
    ),
    SHIFT_JIS: (
        "例外 path_charset: shift_jis を認めます。URL のパスを UTF-8 ではなく Shift_JIS (Windows-31J) として読み、"
        "復号した文字で判定と記録をします。UTF-8 とも読めるパスは拒否します。"
    ),
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a registration must not collide with."""

    portal_host: str
    rp_id: str
    apps: tuple[App, ...] = ()
    owners: frozenset[str] | None = None  # known logins, None = not checked
    own_sockets: str = ""  # folder of the gateway's own sockets: whoever reaches those is trusted


def parse_apps(text: str, file: str, surroundings: Surroundings, created_by: str) -> tuple[App, ...]:
    """Return the pending `App` records of the file; raises SourceFaults with every fault of every document."""
    documents = read_documents(text, file)
    faults: list[Fault] = []
    apps: list[App] = []
    for document in documents:
        faults.extend(document.faults)
        form = _form(document, faults)
        if form is None:
            faults.extend(_collisions_beside_faults(document, surroundings))
            continue
        app = _record(form, created_by)
        faults.extend(_collisions(document, app, surroundings, apps))
        apps.append(app)
    if not documents:
        faults.append(Fault(file, 1, 1, "", "an empty file", "at least one app"))
    if faults:
        raise SourceFaults(tuple(sorted(set(faults), key=lambda fault: (fault.line, fault.column, fault.key))))
    return tuple(apps)


def warnings(app: App, surroundings: Surroundings) -> tuple[str, ...]:
    """What is allowed but worth a second look by the person who approves."""
    found: list[str] = []
    plain = [each for each in app.addresses if each.startswith("http://") and not _is_local(each)]
    if plain and app.sensitivity in _SENSITIVE:
        found.append(f"機密性{app.sensitivity}ですが、アプリまでの通信が暗号化されません (upstream が http)。")
    if "remote-user" in app.presets:
        found.append("署名のないヘッダーを渡します。アプリへゲートウェイ以外から到達できないことを確認してください。")
    found.extend(_PERMITTED[name] for name in (app.path_parameter, app.path_charset) if name)
    for host in app.hosts:
        if host.endswith("." + surroundings.rp_id):
            under = f"{host} はパスキーの RP ID ({surroundings.rp_id}) の下の名前です。"
            found.append(under + "信頼できるアプリに限ってください。")
    return tuple(found)


def changes(before: App | None, after: App) -> list[dict[str, object]]:
    """Field by field: what `after` changes. A new app lists every field with `before: null`."""
    new = after.to_row()
    old = before.to_row() if before is not None else {}
    skipped = {"state", "created_by", "approved_by"}
    return [
        {"field": name, "before": old.get(name), "after": value}
        for name, value in new.items()
        if name not in skipped and old.get(name) != value
    ]


def _form(document: Document, faults: list[Fault]) -> AppForm | None:
    if not isinstance(document.value, dict):
        faults.append(document.fault((), "a value that is not a mapping", "keys such as id, hosts and upstream"))
        return None
    if ("upstream" in document.value) is ("upstreams" in document.value):
        got = "both 'upstream' and 'upstreams'" if "upstream" in document.value else "nothing"
        faults.append(document.fault(("upstream",), got, "'upstream' (one server) or 'upstreams' (several)"))
    try:
        return AppForm.model_validate(document.value)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            path: Path = tuple(item["loc"])
            faults.append(_translated(document, path, item["type"], item["msg"], item.get("input")))
    return None


def _translated(document: Document, path: Path, kind: str, message: str, got: object) -> Fault:
    if kind == "extra_forbidden":
        name = str(path[-1])
        near = difflib.get_close_matches(name, AppForm.model_fields, n=1)
        known = ", ".join(AppForm.model_fields)
        expected = f"a known key (did you mean {near[0]!r}?)" if near else f"one of {known}"
        return document.fault(path, f"unknown key {name!r}", expected)
    if kind == "missing":
        return document.fault(path, "nothing", f"the key {path[-1]!r}")
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return document.fault(path, _shown(got), expected)


def _shown(got: object) -> str:
    text = repr(got)
    return text if len(text) <= 80 else text[:77] + "…"


def _record(form: AppForm, created_by: str) -> App:
    sensitive = form.sensitivity in _SENSITIVE
    return App(
        id=form.id,
        title=form.title,
        owner=form.owner,
        contact=form.contact,
        hosts=tuple(form.hosts),
        upstream=form.upstreams[0] if len(form.upstreams) == 1 else form.upstream,
        upstream_ca=form.upstream_ca,
        sensitivity=form.sensitivity,
        business=form.business,
        profile=form.profile,
        presets=tuple(form.presets),
        assertion_header=form.assertion_header,
        methods=tuple(form.methods),
        host_header=form.host_header,
        durability=form.durability or (Durability.SYNCED if sensitive else Durability.WRITTEN).value,
        activity=form.activity,
        preflight_origins=tuple(form.preflight.origins),
        health_path=form.health_path,
        masked_paths=tuple(form.masked_paths),
        masked_queries=tuple(form.masked_queries),
        path_parameter=form.path_parameter,
        path_charset=form.path_charset,
        body_limits=form.body_limits,
        upstreams=tuple(form.upstreams) if len(form.upstreams) > 1 else (),
        affinity=form.affinity,
        upstream_first_byte=form.upstream_first_byte,
        upstream_between=form.upstream_between,
        state=AppState.PENDING.value,
        created_by=created_by,
        approved_by="",
    )


def _collisions(document: Document, app: App, around: Surroundings, earlier: list[App]) -> Iterable[Fault]:
    taken = hosts_taken((*around.apps, *earlier), app.id)
    if any(other.id == app.id for other in earlier):
        yield document.fault(("id",), f"{app.id!r} a second time", "one document for each app")
    for path, got, expected in collisions(app, around, taken):
        yield document.fault(path, got, expected)


def hosts_taken(apps: Iterable[App], but: str) -> dict[str, str]:
    """Each host of the apps other than `but`, with the app that has it."""
    return {host: app.id for app in apps if app.id != but for host in app.hosts}


def collisions(app: App, around: Surroundings, taken: Mapping[str, str]) -> Iterator[tuple[Path, str, str]]:
    """What the app may not take, as (place, got, expected). `taken` maps the hosts of others to their apps."""
    yield from _host_collisions(app.hosts, around, taken)
    for index, address in enumerate(app.addresses):
        if around.own_sockets and _is_inside(address, around.own_sockets):
            place: Path = ("upstreams", index) if app.upstreams else ("upstream",)
            yield place, repr(address), "an app's socket, not one of the gateway's own"
    yield from _owner_unknown(app.owner, around)


def _host_collisions(
    hosts: Iterable[str], around: Surroundings, taken: Mapping[str, str]
) -> Iterator[tuple[Path, str, str]]:
    for index, host in enumerate(hosts):
        place: Path = ("hosts", index)
        if host in (around.portal_host, around.rp_id):
            yield place, repr(host), "a name other than the portal's and the passkey RP ID"
        elif host.endswith("." + around.portal_host):
            yield place, repr(host), f"a name not under the portal's ({around.portal_host})"
        elif host in taken:
            yield place, repr(host), f"a host that no other app has (app {taken[host]!r} has it)"


def _owner_unknown(owner: str, around: Surroundings) -> Iterator[tuple[Path, str, str]]:
    if around.owners is not None and owner not in around.owners:
        yield ("owner",), repr(owner), "the 職員ID of a registered user"


def _collisions_beside_faults(document: Document, around: Surroundings) -> Iterator[Fault]:
    """What can be said of a registration that has other faults, so that its writer mends all of them in one go."""
    value = document.value if isinstance(document.value, dict) else {}
    owner, hosts, name = value.get("owner"), value.get("hosts"), value.get("id")
    found: list[tuple[Path, str, str]] = []
    if isinstance(owner, str):
        found.extend(_owner_unknown(owner, around))
    if isinstance(hosts, list) and all(isinstance(host, str) for host in hosts):
        taken = hosts_taken(around.apps, name if isinstance(name, str) else "")
        found.extend(_host_collisions((str(host) for host in hosts), around, taken))
    for path, got, expected in found:
        yield document.fault(path, got, expected)


def _is_inside(upstream: str, folder: str) -> bool:
    path = upstream.removeprefix("unix:")
    return path != upstream and os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def _is_local(upstream: str) -> bool:
    rest = upstream.split("://", 1)[-1]
    return rest.startswith(("127.", "localhost", "[::1]")) or upstream.startswith("unix:")
