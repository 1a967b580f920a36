"""Asking the gate so that whatever goes wrong in it is a refusal: recorded and told, never a connection that just ends.

The gatekeeper promises not to raise. A defect that breaks that promise must not decide what a person sees.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway.edge.services import Answer, Answered, EdgeServices, Passed, RequestFault
from gateway.gate.client_kind import signs_in
from gateway.gate.request import Peer, RequestHead
from gateway.gate.verdict import Refuse, Verdict
from policies.reasons import Reason

WORDLESS = Answer(503, ((b"Cache-Control", b"no-store"),), b"", close=True)
"""What is left to say where even writing a refusal fails."""


def unjudged(services: EdgeServices, request: RequestHead, error: Exception) -> Verdict:
    """Return the refusal of a request that could not be judged."""
    _tell("judging failed; the request is refused", error)
    fault = RequestFault(503, Reason.INTERNAL_ERROR, "the gate failed")
    return services.gatekeeper.reject(request.peer, fault)


def rejected(services: EdgeServices, peer: Peer, fault: RequestFault, seen: bytes) -> Refuse:
    """Return the refusal of what never became a request; `seen` says whether its sender reads pages, nothing else."""
    return replace(services.gatekeeper.reject(peer, fault), signs=signs_in(seen))


def answered(services: EdgeServices, verdict: Answered, request: RequestHead | None) -> Answer:
    """Return the answer of a verdict that is recorded; an exception leaves its refusal without words."""
    try:
        return services.gatekeeper.answer(verdict, request)
    except Exception as error:  # noqa: BLE001  # the refusal stands
        _tell("writing an answer failed", error)
        return WORDLESS


def unkept(services: EdgeServices, request: RequestHead | None) -> Answer:
    """Return the answer given where nothing could be recorded."""
    try:
        return services.gatekeeper.unkept(request)
    except Exception as error:  # noqa: BLE001  # the refusal stands
        _tell("writing an answer failed", error)
        return WORDLESS


def failed(
    services: EdgeServices, verdict: Passed, request: RequestHead, status: int, reason: str, wait: float
) -> Answer:
    """Return the answer given in the app's place; `wait` in seconds, 0 = not known."""
    try:
        return services.gatekeeper.failed(verdict, request, status, reason, wait)
    except Exception as error:  # noqa: BLE001  # the failure stands
        _tell("writing an answer failed", error)
        return WORDLESS


def unidentified(error: Exception) -> None:
    """Tell that the lines which say who asks could not be made: then nothing may be sent."""
    _tell("telling the app who asks failed", error)


def _tell(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
