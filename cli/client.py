"""The admin API as the command line uses it: JSON over HTTP/1.1 over the admin socket, standard library only."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

_READ_BYTES = 65536
_ANSWER_WITHIN = 60.0  # seconds; the steward's own deadline is far shorter
_CODES: Mapping[int, ExitCode] = {
    400: ExitCode.USAGE,
    401: ExitCode.SIGN_IN_NEEDED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
}
_UNREACHABLE_REASONS = frozenset({"steward_unavailable"})
_INTEGRITY_REASONS = frozenset({"trail_not_as_written"})


class AdminClient:
    """One installation's admin API. A call that is refused raises Failure with the exit code it stands for."""

    def __init__(self, path: Path, token: str | None) -> None:
        self._path = path
        self._token = token

    def get(self, path: str, **parameters: str | int | None) -> dict[str, Any]:
        """Ask; parameters that are None or empty are left out."""
        given = {name: str(value) for name, value in parameters.items() if value not in (None, "")}
        return self._answer("GET", path + (f"?{urlencode(given)}" if given else ""), None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Command."""
        return self._answer("POST", path, body)

    def stream(self, path: str, body: Mapping[str, Any], *, endless: bool = False) -> Iterator[dict[str, Any]]:
        """The records of an NDJSON answer as they arrive; a problem in the last line raises Failure."""
        connection = self._connection(None if endless else _ANSWER_WITHIN)
        try:
            response = self._send(connection, "POST", path, body)
            if response.status >= 400:
                raise _failure(response.status, _parsed(response.read()))
            for line in _lines(response):
                record = json.loads(line)
                problem = record.get("problem") if len(record) == 1 else None
                if problem:
                    raise _failure(int(problem["status"]), problem)
                yield record
            if endless:
                raise ConnectionResetError("the server stopped")
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        connection = self._connection(_ANSWER_WITHIN)
        try:
            response = self._send(connection, method, path, body)
            data = _parsed(response.read())
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _failure(response.status, data)
        return data

    def _send(self, connection: HTTPConnection, method: str, path: str, body: Mapping[str, Any] | None) -> HTTPResponse:
        headers = {"Host": "admin", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        connection.request(method, path, body=content, headers=headers)
        return connection.getresponse()

    def _connection(self, timeout: float | None) -> HTTPConnection:
        return _UnixConnection(str(self._path), timeout)

    def _lost(self, error: OSError | HTTPException) -> Failure:
        if isinstance(error, PermissionError):
            message = t(f"管理ソケット {self._path} を開く権限がありません。", f"not allowed to open {self._path}.")
            return Failure(ExitCode.NOT_ALLOWED, message)
        cause = getattr(error, "strerror", None) or type(error).__name__
        message = t(
            f"sekisho に接続できません ({self._path}: {cause})。sekisho serve が動いているか確認してください。",
            f"cannot reach sekisho ({self._path}: {cause}). Is sekisho serve running?",
        )
        return Failure(ExitCode.UNREACHABLE, message)


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("admin", timeout=timeout)
        self._path = path
        self._timeout = timeout

    def connect(self) -> None:
        """Open the socket; raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


def segment(text: str) -> str:
    """One path segment."""
    return quote(text, safe="")


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the lines of an answer as they arrive; raises IncompleteRead where its last chunk never came.

    By `read1`, because `readline` takes an answer that was cut short for one that ended.
    """
    rest = b""
    while part := response.read1(_READ_BYTES):
        *lines, rest = (rest + part).split(b"\n")
        yield from lines


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise Failure(ExitCode.FAILED, t("sekisho の応答を読めません。", "unreadable answer of sekisho.")) from error
    return parsed if isinstance(parsed, dict) else {}


def _failure(status: int, problem: Mapping[str, Any]) -> Failure:
    reason = str(problem.get("reason", ""))
    code = _CODES.get(status, ExitCode.FAILED)
    if reason in _UNREACHABLE_REASONS:
        code = ExitCode.UNREACHABLE
    if reason in _INTEGRITY_REASONS:
        code = ExitCode.INTEGRITY
    lines = [_fault_line(fault) for fault in problem.get("faults", ())]
    if problem.get("request_id"):
        number = problem["request_id"]
        lines.append(t(f"受付番号 {number} (理由 {reason})", f"reference {number} ({reason})"))
    return Failure(code, str(problem.get("detail") or problem.get("title") or status), lines)


def _fault_line(fault: Mapping[str, Any]) -> str:
    place = ":".join(str(fault[name]) for name in ("file", "line", "column") if fault.get(name) not in (None, ""))
    said = f"{fault.get('key', '')}: got {fault['got']}, expected {fault['expected']}" if "got" in fault else ""
    if not said:
        said = f"{fault.get('key') or fault.get('login', '')}: {fault.get('expected') or fault.get('fault', '')}"
    return f"{place}: {said}" if place else said
