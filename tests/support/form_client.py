"""A browser as far as forms and cookies go, for tests of sign-in without a browser."""

from __future__ import annotations

import re
from html import unescape

import httpx

from tests.support.authenticator import Authenticator
from tests.support.city import City, Person

PASSWORD = "tsuki-no-hikari-88"


class Client:
    """A browser as far as forms and cookies go."""

    def __init__(self, city: City) -> None:
        self.origin = city.portal
        transport = httpx.HTTPTransport(verify=False)
        self._http = httpx.Client(transport=transport, follow_redirects=False, timeout=20)
        self._local = f"https://127.0.0.1:{city.port}"
        self._host = city.portal.removeprefix("https://")
        self._jar: dict[str, str] = {}

    def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return self._keep(self._http.get(self._local + path, headers=self._headers({}), extensions=self._sni()))

    def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """Send fields as a form of our own origin."""
        ours = {"Origin": self.origin} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._http.post(self._local + path, data=fields, headers=self._headers(ours), extensions=self._sni())
        return self._keep(answer)

    def cookies(self) -> dict[str, str]:
        """Every cookie that it holds, by name."""
        return dict(self._jar)

    def submit(self, page: httpx.Response, action: str, **fields: str) -> httpx.Response:
        """Send the form of `page` that goes to `action`."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
        assert form is not None, page.text
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0])
        return self.post(action, {name: unescape(value) for name, value in hidden} | fields)

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self._jar.items())
        return {"Host": self._host} | ({"Cookie": cookies} if cookies else {}) | more

    def _sni(self) -> dict[str, str]:
        return {"sni_hostname": self._host.partition(":")[0]}

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self._jar.pop(name, None)
            if value.strip('"'):
                self._jar[name] = value
        return answer


def enrol(city: City, person: Person) -> Authenticator:
    """Use the letter with password and app; returns the app, which has given its first code."""
    client = Client(city)
    client.submit(client.get("/setup"), "/setup", login=person.user.login, code=person.setup_code)
    client.submit(client.get("/setup/password"), "/setup/password", password=PASSWORD, again=PASSWORD)
    page = client.get("/setup/totp")
    secret = re.search(r'class="secret">([^<]+)', page.text)
    assert secret is not None
    app = Authenticator(secret[1].replace(" ", ""))
    assert client.submit(page, "/setup/totp", code=app.code()).status_code == 200
    return app
