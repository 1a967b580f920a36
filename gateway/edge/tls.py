"""TLS towards clients: 1.2 with AEAD or 1.3, a certificate per host, and what a handshake proved about the device."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final
from weakref import WeakKeyDictionary

from gateway.edge.authorities import CertificateReader
from gateway.edge.server_certificates import Credentials, ServerCertificate
from gateway.gate.request import Peer

# For TLS 1.2: forward secrecy and AEAD (RFC 9325 §4.2). TLS 1.3's suites all have both.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_names: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()
_readers: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, CertificateReader] = WeakKeyDictionary()


class HostContexts:
    """One listener's TLS: which certificate a client gets for the name that it asks for (SNI, RFC 6066 §3).

    `base` stays the same and holds no certificate: each handshake is moved to the context of its name, so that what
    `use` puts in place serves from the next handshake on, whole. Tickets belong to `base` and outlive certificates.
    """

    def __init__(self, credentials: Credentials) -> None:
        """Raises ssl.SSLError where the TLS library does not take what was read."""
        self._reader = CertificateReader(credentials.authorities)
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
        _readers[connection] = self._reader
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


def complete_peer(peer: Peer, transport: asyncio.BaseTransport) -> None:
    """Enter into `peer` what the finished handshake tells; raises ValueError for an unreadable client certificate."""
    connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
    peer.server_name = _names.get(connection, "")
    peer.tls_version = connection.version() or ""
    cipher = connection.cipher()
    peer.tls_cipher = "" if cipher is None else cipher[0]
    der = connection.getpeercert(binary_form=True)
    if der is None:
        return
    reader = _readers.get(connection)
    if reader is None:
        raise ValueError("client certificate on a connection without a listener's authorities")
    peer.certificate = reader.read(der)
