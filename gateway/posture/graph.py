"""The connector to Microsoft Graph v1.0: client credentials, paging, throttling, bounds on everything.

A reading is all pages or nothing. Redirects are not followed, a `nextLink` must stay on the API's own origin (a
foreign one would carry our token away), and no answer is read beyond its bound (a broken service must not exhaust us).
Source: Microsoft identity platform, OAuth 2.0 client credentials flow; Graph: "Paging", "Throttling guidance".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from gateway.posture.graph_device import SELECT, UnreadableDevice, device_of
from gateway.posture.source import Reading, SourceFault, SourceUnavailable
from gateway.state.records import Device

PAGE_SIZE = 500
PAGES_MAX = 200
PAGE_BYTES_MAX = 8 * 1024 * 1024
TOKEN_BYTES_MAX = 64 * 1024
TOKEN_MARGIN = 120.0
RETRY_AFTER_MAX = 900.0
_DEVICES = "v1.0/deviceManagement/managedDevices"


@dataclass(frozen=True, slots=True)
class GraphAccess:
    """Where the service is and who we are there."""

    base_url: str
    token_url: str
    scope: str
    client_id: str
    client_secret_file: Path  # read for each new token, so that a new secret counts without a restart
    timeout: float  # seconds, for each call

    def __repr__(self) -> str:
        return f"GraphAccess({self.base_url!r}, {self.client_id!r}, …)"


class GraphSource:
    """A `PostureSource` over Graph."""

    name = "graph"

    def __init__(self, access: GraphAccess, http: aiohttp.ClientSession) -> None:
        self._access = access
        self._http = http
        self._token = ""
        self._token_until = 0.0

    async def read(self, now: float) -> Reading:
        """Return every managed device; raise `SourceUnavailable` with the reason."""
        url = URL(self._access.base_url) / _DEVICES
        url = url.with_query({"$select": ",".join(SELECT), "$top": str(PAGE_SIZE)})
        devices: list[Device] = []
        unreadable, seen = 0, set[URL]()
        while url not in seen:
            if len(seen) >= PAGES_MAX:
                raise SourceUnavailable(SourceFault.ANSWER_TOO_LARGE, f"more than {PAGES_MAX} pages")
            seen.add(url)
            entries, following = _page(await self._get(url, now))
            for entry in entries:
                try:
                    devices.append(device_of(entry, now))
                except UnreadableDevice:
                    unreadable += 1
            if not following:
                return Reading(tuple(devices), now, unreadable)
            url = self._same_origin(following)
        raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the pages lead in a circle")

    def _same_origin(self, following: str) -> URL:
        try:
            url = URL(following)
            same = url.origin() == URL(self._access.base_url).origin()
        except ValueError:
            same = False
            url = URL()
        if not same:
            raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the next page is on another host")
        return url

    async def _get(self, url: URL, now: float) -> dict[str, Any]:
        status, body, retry_after = await self._call("GET", url, await self._bearer(now))
        if status == 401:
            # A token may be withdrawn before its time: one new one, then the refusal stands.
            self._token_until = 0.0
            status, body, retry_after = await self._call("GET", url, await self._bearer(now))
        return _accept(status, body, retry_after)

    async def _bearer(self, now: float) -> str:
        if now < self._token_until:
            return self._token
        try:
            secret = self._access.client_secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            name = type(error).__name__
            raise SourceUnavailable(SourceFault.CREDENTIALS_REFUSED, f"the secret's file: {name}") from None
        form = {
            "grant_type": "client_credentials",
            "client_id": self._access.client_id,
            "client_secret": secret,
            "scope": self._access.scope,
        }
        status, body, retry_after = await self._call("POST", URL(self._access.token_url), "", form)
        if status in (400, 401):
            raise SourceUnavailable(SourceFault.CREDENTIALS_REFUSED, f"the token endpoint answered {status}")
        answer = _accept(status, body, retry_after)
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(lifetime, int | float):
            raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the token endpoint gave no token")
        self._token = token
        self._token_until = now + max(0.0, float(lifetime) - TOKEN_MARGIN)
        return token

    async def _call(
        self, method: str, url: URL, bearer: str, form: dict[str, str] | None = None
    ) -> tuple[int, bytes, float | None]:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        limit = PAGE_BYTES_MAX if form is None else TOKEN_BYTES_MAX
        try:
            async with self._http.request(
                method,
                url,
                headers=headers,
                data=form,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._access.timeout),
            ) as answer:
                body = await _bounded(answer, limit)
                return answer.status, body, _retry_after(answer.headers.get("Retry-After"))
        except TimeoutError:
            raise SourceUnavailable(SourceFault.TIMED_OUT, f"no answer in {self._access.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise SourceUnavailable(SourceFault.UNREACHABLE, type(error).__name__) from None
        except asyncio.IncompleteReadError:
            raise SourceUnavailable(SourceFault.UNREACHABLE, "the answer was cut") from None


async def _bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_chunked(65536):
        size += len(part)
        if size > limit:
            raise SourceUnavailable(SourceFault.ANSWER_TOO_LARGE, f"more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _retry_after(text: str | None) -> float | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(float(text), RETRY_AFTER_MAX)


def _accept(status: int, body: bytes, retry_after: float | None) -> dict[str, Any]:
    if status == 429:
        raise SourceUnavailable(SourceFault.THROTTLED, "too many requests", retry_after)
    if status == 401:
        raise SourceUnavailable(SourceFault.CREDENTIALS_REFUSED, "the token was refused")
    if status == 403:
        raise SourceUnavailable(SourceFault.FORBIDDEN, "the permission is missing")
    if status >= 500:
        raise SourceUnavailable(SourceFault.UNAVAILABLE, f"answered {status}", retry_after)
    if status != 200:
        raise SourceUnavailable(SourceFault.ANSWER_INVALID, f"answered {status}")
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the answer is no JSON") from None
    if not isinstance(answer, dict):
        raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the answer is no object")
    return answer


def _page(answer: dict[str, Any]) -> tuple[list[object], str]:
    entries, following = answer.get("value"), answer.get("@odata.nextLink", "")
    if not isinstance(entries, list) or not isinstance(following, str):
        raise SourceUnavailable(SourceFault.ANSWER_INVALID, "the answer has no list of devices")
    return entries, following
