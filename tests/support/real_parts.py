"""Real programs that tests start: each `requires_*` fixture gives the program's path.

A part that is missing skips the test on a person's machine and fails it in CI (CI=true), so that nothing there is
passed over in silence. `scripts/system-packages` installs all of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
_SYSTEM_FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it in CI, because `what` is not on this machine."""
    message = f"{what} is not on this machine (scripts/system-packages installs it)"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def program(name: str) -> Path:
    """Return the path of an installed program; see `missing`."""
    found = shutil.which(name, path=_SYSTEM_FOLDERS)
    if found is None:
        missing(name)
    return Path(found)


@pytest.fixture(scope="session")
def requires_openssl() -> Path:
    """The OpenSSL command, as a verifier that shares no code with ours."""
    return program("openssl")


@pytest.fixture(scope="session")
def requires_nginx() -> Path:
    """nginx, the yardstick and the front of the `behind` listener."""
    return program("nginx")


@pytest.fixture(scope="session")
def requires_haproxy() -> Path:
    """HAProxy, which speaks PROXY protocol v2."""
    return program("haproxy")


@pytest.fixture(scope="session")
def requires_wrk() -> Path:
    """wrk, the load generator."""
    return program("wrk")


@pytest.fixture(scope="session")
def requires_strace() -> Path:
    """strace, for the order of system calls and for injected errors."""
    return program("strace")


@pytest.fixture(scope="session")
def requires_faketime() -> Path:
    """faketime, for processes under another clock."""
    return program("faketime")


@pytest.fixture(scope="session")
def requires_chromium() -> Path:
    """Chromium, for pages, passkeys and device certificates."""
    return program("chromium")


@pytest.fixture(scope="session")
def requires_certutil() -> Path:
    """NSS certutil, which fills Chromium's certificate store."""
    return program("certutil")


@pytest.fixture(scope="session")
def requires_java() -> Path:
    """A Java runtime, for Elasticsearch."""
    return program("java")


@pytest.fixture(scope="session")
def requires_maven() -> Path:
    """Maven, which fetches Elasticsearch's jars."""
    return program("mvn")


@pytest.fixture(scope="session")
def requires_go() -> Path:
    """The Go tool, which builds another implementation of the log's formats."""
    return program("go")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of shared attack corpora; where it is absent the test skips and the summary names it."""
    if not CORPORA.is_dir():
        pytest.skip("the corpora are not beside this repository (shared/corpora)")
    return CORPORA
