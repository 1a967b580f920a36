"""No secret in anything that a test run leaves behind: what the run's secrets are, and where they may not stand.

Every secret is learned where it is made or sent: the clients and makers that tests use are watched (`watch`), keys are
taken from the files that hold them. At the end of each test module everything written below the run's temporary folder
is searched for all of them, raw and as JSON, URL, base64 and hex spell them: journals, the log, indexes, dead letters,
the processes' output, the command lines of processes, and documents that a test read back from Elasticsearch.
Not searched are the files whose purpose is to hold a secret (`HOLDERS`).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote, quote_plus

import duckdb
from backports import zstd

SHORTEST = 8  # characters; codes of digits are shorter and looked for as values only
TYPED = 12  # characters of a secret that somebody typed
LARGEST = 32 << 20  # bytes of a compressed file
HOLDERS = {
    "keys": "the installation's keys", "tls": "the listener's key", "device-ca": "the device authority's key",
    "node": "Elasticsearch's own files: its documents are read back by the tests over it",
    "chromium": "the browser's own profile", "demo.json": "what the sample city's people sign in with",
    "said.txt": "what `sekisho demo` tells whoever started it: how to sign in to the sample city",
    "again.txt": "the same, told a second time", "mdm": "the simulated MDM's own folder, of a foreign system",
}  # fmt: skip
HOLDING_SUFFIXES = frozenset({".pem", ".key", ".p12", ".secret", ".jar"})
_COOKIE_JAR = b"# Netscape HTTP Cookie File"
_FIELDS = frozenset(
    {"password", "again", "code", "setup_code", "token", "csrf", "state", "secret", "value", "assertion"}
)
_SET = re.compile(r"__Host-sekisho[a-z-]*=([A-Za-z0-9_.-]{20,})")
_PEM_LINE = re.compile(rb"^[A-Za-z0-9+/=_-]{32,}$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Found:
    """One place of one secret. The secret itself is not repeated."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class Canaries:
    """The secrets of one run, and what was written down outside files."""

    secrets: dict[str, str] = field(default_factory=dict)  # secret → what it is
    said: dict[str, bytes] = field(default_factory=dict)  # name of what is no file → its bytes
    searched: int = 0  # files so far
    states: dict[Path, tuple[int, int]] = field(default_factory=dict)  # file → its size and time when last searched

    def learn(self, value: str | bytes | None, what: str) -> None:
        """Remember a secret; what is too short to be one, or to be told from other text, is not."""
        text = value.decode(errors="replace") if isinstance(value, bytes) else value or ""
        if len(text) >= 32 and len(set(text)) < 4:
            return  # a stand-in such as a key of zeros
        if len(text) >= SHORTEST or (len(text) >= 6 and text.isdigit()):
            self.secrets.setdefault(text, what)

    def learn_fields(self, fields: object, what: str) -> None:
        """Remember the secrets among the fields of a form or JSON object, at any depth; no words, which stand anywhere.

        One-time and set-up codes, which are shorter, are learned where they are made.
        """
        if isinstance(fields, dict):
            for name, value in fields.items():
                if isinstance(value, str) and str(name).lower() in _FIELDS:
                    self.learn(value if len(value) >= TYPED and not value.isalpha() else None, f"{what}: {name}")
                else:
                    self.learn_fields(value, what)
        elif isinstance(fields, list | tuple):
            for value in fields:
                self.learn_fields(value, what)

    def learn_cookies(self, text: str) -> None:
        """Remember the tokens of our cookies in a Cookie or Set-Cookie field."""
        for token in _SET.findall(text):
            self.learn(token, "cookie")

    def say(self, name: str, text: bytes) -> None:
        """Keep what was written somewhere that is no file of the run."""
        self.said[name] = self.said.get(name, b"") + text + b"\n"

    def processes(self) -> None:
        """Keep the command lines of this user's processes, as everybody on the machine sees them."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.stat().st_uid == os.getuid():
                    self.say("command lines", (entry / "cmdline").read_bytes().replace(b"\0", b" "))
            except OSError:
                continue  # it ended

    def search(self, *folders: Path, changed: bool = False) -> list[Found]:
        """Return where a secret stands below `folders`, and in what was said.

        With `changed` only files written since they were last searched are read: what was learned later cannot stand
        in those that were complete before.
        """
        states = {file: state for folder in folders for file, state in written(folder)}
        files = [file for file, state in states.items() if not changed or self.states.get(file) != state]
        self.states |= states
        texts, plain = dict(self.said), list[Path]()
        for file in files:
            with suppress(FileNotFoundError):  # its owner lives, and took it away or renamed it since it was listed
                if holds_secrets(file):
                    self._learn_file(file)
                elif text := readable(file):
                    texts[str(file)] = text
                else:
                    plain.append(file)
        self.searched += len(files)
        needles = {needle: what for secret, what in self.secrets.items() for needle in spellings(secret)}
        return _grep(needles, plain, texts)

    def _learn_file(self, file: Path) -> None:
        data = file.read_bytes() if file.stat().st_size < 1 << 20 else b""
        if b"PUBLIC KEY" in data or file.suffix == ".pub" or "node" in file.parts or "chromium" in file.parts:
            return
        if data.startswith(_COOKIE_JAR):
            self.learn_cookies(re.sub(r"\t(?=[^\t]*$)", "=", data.decode(), flags=re.MULTILINE))
        elif file.name == "demo.json":
            self.learn_fields(json.loads(data), "sample city")
        elif b"CERTIFICATE" not in data or b"PRIVATE" in data:
            private = data[data.find(b"PRIVATE") :] if b"PRIVATE" in data else data
            for line in _PEM_LINE.findall(private.split(b"-----END")[0]):
                self.learn(line, f"key {file.name}")


def spellings(secret: str) -> set[bytes]:
    """The ways in which a text may stand in others; of a short code, only as a value of its own."""
    if len(secret) < SHORTEST or (secret.isdigit() and len(secret) == SHORTEST):
        return {form.format(secret).encode() for form in ('"{}"', "'{}'", "code={}", 'code":{}', "code: {}")}
    raw = secret.encode(errors="surrogatepass")
    told = json.dumps(secret, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
    forms = {raw, told, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), quote_plus(secret).encode(),
             raw.hex().encode(), raw.hex().upper().encode()}  # fmt: skip
    for shift in range(3):  # base64 of it within longer text: the part that its neighbours do not touch
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inner = encode(b"\0" * shift + raw)
            begin = (0, 2, 3)[shift]
            forms.add(inner.rstrip(b"=")[begin:-1])
    return {form for form in forms if len(form) >= SHORTEST}


def written(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Files below `folder`, but for links, sockets and pipes, each with its size and time of writing."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if S_ISREG(status.st_mode):
                yield path, (status.st_size, status.st_mtime_ns)


def holds_secrets(file: Path) -> bool:
    """Whether a file's purpose is to hold secrets."""
    if file.suffix in HOLDING_SUFFIXES or any(part in HOLDERS for part in file.parts) or file.name.startswith("token-"):
        return True
    with file.open("rb") as opened:
        return opened.read(len(_COOKIE_JAR)) == _COOKIE_JAR


def readable(file: Path) -> bytes:
    """The text of a compressed file, b"" for one that is text itself; one of a long run is too large to be read so."""
    if file.suffix in (".parquet", ".zst", ".zstd") and file.stat().st_size > LARGEST:
        return b""
    try:
        if file.suffix == ".parquet":
            with duckdb.connect() as database:
                rows = database.execute("select to_json(r) from read_parquet(?) r", [str(file)]).fetchall()
            return "\n".join(str(row[0]) for row in rows).encode()
        if file.suffix in (".zst", ".zstd"):
            return zstd.decompress(file.read_bytes())
    except (duckdb.Error, zstd.ZstdError):
        return file.read_bytes()  # whoever wrote it was killed meanwhile: what stands there is searched as it is
    return b""


def _grep(needles: dict[bytes, str], files: list[Path], texts: dict[str, bytes]) -> list[Found]:
    if not needles:
        return []
    with tempfile.NamedTemporaryFile(prefix="sekisho-canaries-") as patterns:
        patterns.write(b"\n".join(needle for needle in needles if b"\n" not in needle) + b"\n")
        patterns.flush()
        command = ["grep", "-aoFH", "-f", patterns.name]
        found: list[Found] = []
        for begin in range(0, len(files), 500):
            some = [str(file) for file in files[begin : begin + 500]]
            found += _hits(needles, [*command, "--null", "--", *some], b"")
        for name, text in texts.items():
            found += _hits(needles, [*command, "--null", "--label", name, "--", "-"], text)
    return list(dict.fromkeys(found))


def _hits(needles: dict[bytes, str], command: list[str], data: bytes) -> Iterable[Found]:
    done = subprocess.run(command, input=data, capture_output=True, check=False, env={"LC_ALL": "C", **os.environ})
    for line in done.stdout.splitlines():
        where, _, hit = line.partition(b"\0")
        yield Found(where.decode(errors="replace"), needles.get(hit, "a secret"))
