"""A witness's process: `python -m audit.witness.server --listen HOST:PORT --state DIR --key FILE --log VKEY …`.

Plain HTTP on loopback (for this machine or a front beside it), else TLS with `--tls-cert` and `--tls-key`; requests
need no authentication, because only a log's own signature makes anything happen. Ready (one line `listening on …` on
standard output) once the socket takes connections. SIGTERM: answer what is under way and end.

Exit codes: 0 ended as asked, 1 the memory or the disk refuses (said on stderr), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import signal
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from audit.checkpoint import Verifier, read_cosigner, read_verifier
from audit.witness.memory import MemoryInvalid, Witness
from audit.witness.protocol import BODY_LIMIT, PATH, SIZE_TYPE, Refused

_SLOW: Final = 10.0  # seconds for a request's head and body
_REST: Final = 5.0  # seconds for what is under way at the end


def application(witness: Witness, clock: Callable[[], float]) -> web.Application:
    """Return the web application; `clock` gives seconds since the epoch."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        try:
            body = await asyncio.wait_for(request.read(), _SLOW)
        except TimeoutError:
            return web.Response(status=408, text="the body did not come\n")
        try:
            line = await asyncio.to_thread(witness.add, body, clock())
        except Refused as refusal:
            if refusal.size is not None:
                return web.Response(status=refusal.status, body=refusal.text.encode(),
                                    headers={"Content-Type": SIZE_TYPE})  # fmt: skip
            return web.Response(status=refusal.status, text=refusal.text + "\n")
        except (MemoryInvalid, OSError) as error:
            _say(error)
            return web.Response(status=500, text="the witness cannot remember\n")
        return web.Response(text=line)

    made = web.Application(client_max_size=BODY_LIMIT)
    made.router.add_post(PATH, add_checkpoint)
    return made


async def serve(witness: Witness, host: str, port: int, tls: ssl.SSLContext | None, stop: asyncio.Event) -> None:
    """Answer until `stop`; raises OSError."""
    runner = web.AppRunner(application(witness, time.time), access_log=None, keepalive_timeout=75.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls, shutdown_timeout=_REST)
        await site.start()
        bound = runner.addresses[0]
        sys.stdout.write(f"listening on {bound[0]}:{bound[1]}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


async def _run(options: argparse.Namespace, witness: Witness) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host, port = options.listen
    await serve(witness, host, port, _tls(options), stop)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others may read it, expected mode 0600")
    return path.read_text()


def _logs(texts: Sequence[str]) -> dict[str, list[Verifier]]:
    logs: dict[str, list[Verifier]] = {}
    for text in texts:
        key = read_verifier(text)
        logs.setdefault(key.name, []).append(key)
    return logs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m audit.witness.server", description="Cosign growing logs.")
    parser.add_argument("--listen", type=_address, required=True, help="HOST:PORT; not loopback needs TLS")
    parser.add_argument("--state", type=Path, required=True, help="folder of what it remembers")
    parser.add_argument("--key", type=Path, required=True, help="the witness's key, mode 0600")
    parser.add_argument("--log", action="append", required=True, help="a log's verifier key; may be repeated")
    parser.add_argument("--tls-cert", type=Path, help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, help="its private key, PEM")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the witness; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if options.tls_cert is None and not is_loopback(options.listen[0]):
        parser.error(f"--listen {options.listen[0]}: not loopback, so --tls-cert and --tls-key are needed")
    try:
        witness = Witness(options.state, read_cosigner(_private(options.key)), _logs(options.log))
    except (MemoryInvalid, ValueError, OSError) as error:
        _say(error)
        return 1
    try:
        asyncio.run(_run(options, witness))
    except OSError as error:
        _say(error)
        return 1
    finally:
        witness.close()
    return 0


def _say(error: Exception) -> None:
    sys.stderr.write(f"witness: {error}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
