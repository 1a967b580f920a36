"""TLS towards clients: 1.2 with AEAD or 1.3, a certificate per host, and what a handshake proved about the device."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from typing import Final
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.edge.server_certificates import Credentials, ServerCertificate
from gateway.gate.request import ClientCertificate, Peer

# For TLS 1.2: forward secrecy and AEAD (RFC 9325 §4.2). TLS 1.3's suites all have both.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_names: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()


class HostContexts:
    """One listener's TLS: which certificate a client gets for the name that it asks for (SNI, RFC 6066 §3).

    `base` stays the same and holds no certificate: each handshake is moved to the context of its name, so that what
    `use` puts in place serves from the next handshake on, whole. Tickets belong to `base` and outlive certificates.
    """

    def __init__(self, credentials: Credentials) -> None:
        """Raises ssl.SSLError where the TLS library does not take what was read."""
        self.use(credentials)
        self.base = _context(None, credentials.client_ca)
        # The documented type wants an SSLSocket only; asyncio and uvloop hand over SSLObjects.
        self.base.sni_callback = self._choose

    def use(self, credentials: Credentials) -> None:
        """Serve these from the next handshake on; raises ssl.SSLError and then goes on with the former ones.

        Whether a client's certificate is asked for was settled when this was made.
        """
        contexts = [_context(each, credentials.client_ca) for each in credentials.certificates]
        named: dict[str, ssl.SSLContext] = {}
        for certificate, context in zip(credentials.certificates, contexts, strict=True):
            for name in certificate.names:
                named.setdefault(name, context)
        self._served = named, contexts[0]

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        named, default = self._served
        if name is None:
            connection.context = default
            return
        host = name.lower().removesuffix(".")
        _names[connection] = host
        connection.context = named.get(host) or named.get(f"*.{host.partition('.')[2]}") or default


def _context(certificate: ServerCertificate | None, client_ca: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        _load(context, certificate.pem)
    if client_ca is not None:
        context.load_verify_locations(cadata=client_ca.decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load bytes that were checked: the library takes files only, and another's content may have changed since."""
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as memory:
        memory.write(pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")


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
