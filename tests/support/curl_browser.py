"""A browser as far as curl goes: HTTP/2 over TLS, cookies by their rules, forms, an address of its own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

_NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
_REFRESH = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]+)">')
_OURS = "Sec-Fetch-Site: same-origin"


@dataclass(frozen=True)
class Page:
    """The last answer of a chain of redirects."""

    status: int
    version: str  # "2", "1.1"
    url: str
    head: str
    text: str


class CurlBrowser:
    """`source` is its address; every host name leads to `port` of `server`."""

    def __init__(self, folder: Path, ca: Path, port: int, source: str = "127.0.0.1", server: str = "127.0.0.1") -> None:
        self._jar = folder / f"cookies-{source.replace(':', '-')}-{port}.txt"
        self._common = [
            "curl", "--silent", "--show-error", "--http2", "--max-time", "60", "--cacert", str(ca), "--noproxy", "*",
            "--interface", source, "--resolve", f"*:{port}:{server}",
        ]  # fmt: skip

    def open(self, url: str, *options: str) -> Page:
        """Go to a page as a person does, over every redirect."""
        navigation = [word for header in _NAVIGATION for word in ("--header", header)]
        return self._run("--location", *navigation, *options, url)

    def ask(self, url: str, *options: str) -> Page:
        """Ask once, without a redirect."""
        return self._run(*options, url)

    def submit(self, page: Page, action: str, **fields: str) -> Page:
        """Send the form of `page` that goes to `action`."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
        assert form is not None, page.text
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0])
        given = {name: unescape(value) for name, value in hidden} | fields
        origin = "/".join(page.url.split("/")[:3])
        data = [word for name, value in given.items() for word in ("--data-urlencode", f"{name}={value}")]
        page = self.open(origin + action, "--header", f"Origin: {origin}", "--header", _OURS, *data)
        onward = _REFRESH.search(page.text)
        return page if onward is None else self.open(urljoin(page.url, unescape(onward[1])))

    def each(self, url: str) -> set[str]:
        """Ask for every address of a curl range, many at once; return the statuses that came."""
        options = ("--parallel", "--parallel-max", "8", "--output", "/dev/null", "--write-out", "%{http_code}\n")
        return set(self._curl(*options, url).split())

    def _run(self, *words: str) -> Page:
        said = self._curl("--include", "--write-out", "\n%{http_code} %{http_version} %{url_effective}", *words)
        answer, _, told = said.rpartition("\n")
        status, version, url = told.split(" ", 2)
        head, _, text = answer.partition("\r\n\r\n")
        while text.startswith("HTTP/"):  # a redirect, or 100
            head, _, text = text.partition("\r\n\r\n")
        return Page(int(status), version, url, head, text)

    def _curl(self, *words: str) -> str:
        jar = ("--cookie", str(self._jar), "--cookie-jar", str(self._jar))
        done = subprocess.run([*self._common, *jar, *words], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8")
