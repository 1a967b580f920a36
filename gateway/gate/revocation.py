"""Whether a client certificate still counts: what operators and the authorities' own lists say of it (RFC 5280 §5).

The TLS library proved who issued it and that it is in date. What changes after that is data of the view, so that it
counts from one request to the next, on connections that live on as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.gate.request import ClientCertificate
    from gateway.state.view import View


def certificate_refusal(view: View, certificate: ClientCertificate, wall: float) -> Reason | None:
    """Return why a certificate does not count, None = it does.

    Where a list is asked for (`checked`), one that is missing or past its nextUpdate proves nothing: nobody could tell
    whether the certificate was revoked meanwhile. The authority not known is an authority without a list.
    """
    if view.is_revoked(certificate.authority, certificate.serial):
        return Reason.DEVICE_CERTIFICATE_REVOKED
    if certificate.checked:
        listed = view.revocation_lists.get(certificate.authority)
        if listed is None or listed.next_update <= wall:
            return Reason.DEVICE_CERTIFICATE_UNCHECKED
    return None


def counts_until(view: View, certificate: ClientCertificate) -> float:
    """Return the time at which a certificate that counts has to be looked at again, without any change of the view."""
    if certificate.checked and (listed := view.revocation_lists.get(certificate.authority)) is not None:
        return min(certificate.not_after, listed.next_update)
    return certificate.not_after
