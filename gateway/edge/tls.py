"""TLS towards clients: 1.2 with AEAD or 1.3, and what a handshake proved about the device."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.gate.request import ClientCertificate, Peer

# For TLS 1.2; TLS 1.3's suites are all AEAD.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_names: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()


def _remember_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
    if name is not None:
        _names[connection] = name.lower().removesuffix(".")


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return a listener's context; raises OSError (ssl.SSLError included) where a file cannot be read or used.

    With `client_ca` a client may show a certificate of that CA and of no other (an unknown one fails the handshake);
    without it none is asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    # The documented type wants an SSLSocket only; asyncio and uvloop hand over SSLObjects.
    context.sni_callback = _remember_name
    return context


def read_certificate(der: bytes) -> ClientCertificate:
    """Return what we use of a client certificate whose chain the TLS library verified; raises ValueError."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ValueError("client certificate without exactly one common name")
    return ClientCertificate(
        uuid=str(names[0].value).lower(),
        serial=f"{certificate.serial_number:x}",
        thumbprint=hashlib.sha256(der).hexdigest(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def complete_peer(peer: Peer, transport: asyncio.BaseTransport) -> None:
    """Enter into `peer` what the finished handshake tells; raises ValueError for an unreadable client certificate."""
    connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
    peer.server_name = _names.get(connection, "")
    peer.tls_version = connection.version() or ""
    cipher = connection.cipher()
    peer.tls_cipher = "" if cipher is None else cipher[0]
    der = connection.getpeercert(binary_form=True)
    peer.certificate = None if der is None else read_certificate(der)
