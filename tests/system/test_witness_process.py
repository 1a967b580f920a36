"""The witness as a process: the protocol on the wire, killed between persisting and answering, never signing a fork."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from audit.checkpoint import cosigned, generate, generate_cosigner, with_line
from audit.witness.client import Answer, Cosigned, Place, Unreachable, ask, session
from audit.witness.protocol import Submission
from audit.witness.server import main
from audit.witnesses import remembered
from tests.support.witness_process import start_witness, write_key
from tests.support.witnessed_logs import SmallLog

LOG = SmallLog(generate("log.example/audit"))
FORKED = SmallLog(LOG.signer, fork=3)
OTHER = SmallLog(generate("other.example/log"))
COSIGNER = generate_cosigner("w.example/1")


def test_the_wire_is_the_specifications(tmp_path: Path) -> None:
    witness = start_witness(tmp_path / "state", COSIGNER, [LOG.signer.verifier, OTHER.signer.verifier])
    try:
        status, _, line = witness.post(LOG.request(0, 7))
        assert status == 200
        assert line.startswith("— w.example/1 ")
        assert abs(cosigned(with_line(LOG.note(7), line), COSIGNER.verifier) - time.time()) < 60
        assert witness.post(LOG.request(3, 9)) == (409, "text/x.tlog.size", "7\n")
        assert witness.post(FORKED.request(7, 7)) == (409, "text/x.tlog.size", "7\n")
        assert witness.post(FORKED.request(7, 9))[0] == 422
        assert witness.post(LOG.request(7, 9))[0] == 200
        assert witness.post(OTHER.request(0, 2))[0] == 200  # another log is another tree
        assert witness.post(b"nonsense")[0] == 400
        assert witness.post(SmallLog(generate("nobody.example")).request(0, 1))[0] == 404
        assert witness.post(SmallLog(generate(LOG.signer.name)).request(9, 9))[0] == 403
        assert witness.post(b"old 0\n\n" + b"x" * 70_000)[0] == 413
        second = subprocess.run(
            [sys.executable, "-m", "audit.witness.server", "--listen", "127.0.0.1:0", "--state", tmp_path / "state",
             "--key", tmp_path / "state.key", "--log", LOG.signer.verifier.encode()],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert "another process remembers here" in second.stderr
    finally:
        assert witness.end() == 0


@pytest.mark.promise("P5.witness-survives-kills")
def test_killed_anywhere_it_never_signs_a_fork(tmp_path: Path) -> None:
    """Two histories of one log compete for cosignatures while the witness is killed between any two system calls."""
    seeded = random.Random(20261122)  # noqa: S311 (a schedule, no secret)
    lines: list[tuple[SmallLog, int, str]] = []
    size = 0
    for _ in range(8):
        witness = start_witness(tmp_path / "state", COSIGNER, [LOG.signer.verifier])
        try:
            known = witness.post(LOG.request(0, max(1, size)))
            if known[0] == 409:
                size = int(known[2])
            elif known[0] == 200:
                size = max(1, size)
                lines.append((LOG, size, known[2]))
            killer = threading.Timer(seeded.uniform(0.0, 0.06), witness.process.kill)
            turns = 0
            while witness.process.poll() is None:
                for log in (LOG, FORKED):
                    status, _, text = witness.post(log.request(size, size + 1))
                    if status == 200:
                        lines.append((log, size + 1, text))
                        size += 1
                    elif status == 409:
                        size = int(text)
                turns += 1
                if turns == 1:  # on a slow machine, too, each life gets somewhere
                    killer.start()
        except OSError:
            pass  # killed while it was asked: an answer that nobody has is no cosignature
        finally:
            witness.process.kill()
            witness.end(9)
    first = next((log for log, number, _ in lines if number > 3), None)
    assert first is not None, "no run got past the fork: nothing was shown"
    for log, number, line in lines:
        cosigned(with_line(log.note(number), line), COSIGNER.verifier)
        if number > 3:
            assert log is first, f"two histories were cosigned, the second one at size {number}"
    (row,) = remembered(tmp_path / "state")
    assert row["size"] >= max(number for _, number, _ in lines)  # what was answered is remembered


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.promise("P5.witness-remembers-before-it-signs")
def test_the_memory_is_synced_before_the_answer_leaves(tmp_path: Path) -> None:
    """The order of system calls: fsync of the file, rename, fsync of the folder, and only then the answer."""
    witness = start_witness(tmp_path / "state", COSIGNER, [LOG.signer.verifier])
    out = tmp_path / "calls"
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(witness.process.pid), "-o", str(out), "-y", "-s", "60",
         "-e", "trace=fsync,rename,sendto,write,sendmsg,writev"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert strace.stderr is not None
        assert b"attached" in strace.stderr.readline()
        assert witness.post(LOG.request(0, 7))[0] == 200
    finally:
        witness.end()
        strace.communicate(timeout=60)
    calls = out.read_text().splitlines()
    synced = next(at for at, call in enumerate(calls) if "fsync(" in call and ".json.tmp" in call)
    renamed = next(at for at, call in enumerate(calls) if "rename(" in call and ".json.tmp" in call)
    folder = next(at for at, call in enumerate(calls) if at > renamed and "fsync(" in call and "/state>" in call)
    answered = next(at for at, call in enumerate(calls) if "HTTP/1.1 200 OK" in call)
    assert synced < renamed < folder < answered


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "witness")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "tls.pem", folder / "tls.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def test_the_command_serves_over_tls_and_our_client_asks_it(tmp_path: Path) -> None:
    key, (cert, private) = write_key(tmp_path / "w.key", COSIGNER), certificate(tmp_path)
    command = [
        sys.executable, "-m", "cli", "witness", "serve", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "s"),
        "--key", str(key), "--log", LOG.signer.verifier.encode(), "--tls-cert", str(cert), "--tls-key", str(private),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]

    async def asked(ca: str | None) -> Answer:
        place = Place(f"https://{address}", COSIGNER.verifier, ca)
        async with session(place) as http:
            return await ask(http, place, Submission(0, (), LOG.note(7)))

    try:
        assert isinstance(asyncio.run(asked(str(cert))), Cosigned)
        assert isinstance(asyncio.run(asked(None)), Unreachable)  # nobody vouches for it
    finally:
        process.terminate()
        assert process.wait(60) == 0  # the command has become the witness: its end is ours to see
        process.stdout.close()


def test_it_will_not_start_with_what_is_unsafe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = write_key(tmp_path / "w.key", COSIGNER)

    def run(*words: str) -> tuple[int, str]:
        try:
            code = main(["--state", str(tmp_path / "s"), "--key", str(key), *words])
        except SystemExit as end:
            code = int(str(end.code))
        return code, capsys.readouterr().err

    log = ("--log", LOG.signer.verifier.encode())
    code, said = run("--listen", "0.0.0.0:0", *log)
    assert (code, "not loopback" in said) == (2, True)
    assert run("--listen", "127.0.0.1:0", "--tls-cert", "x", *log)[0] == 2
    assert run("--listen", "127.0.0.1", *log)[0] == 2
    code, said = run("--listen", "127.0.0.1:0", "--log", COSIGNER.verifier.encode())
    assert (code, "expected 1: a log's key" in said) == (1, True)
    key.chmod(0o644)
    code, said = run("--listen", "127.0.0.1:0", *log)
    assert (code, "expected mode 0600" in said) == (1, True)
    assert "PRIVATE" not in said
