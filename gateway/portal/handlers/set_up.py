"""First sign-in with a set-up code: choose a password and an authenticator app, or a passkey alone.

Nothing is stored before the last step, so a set-up that is broken off leaves the code good.
"""

from __future__ import annotations

from aiohttp import web

from gateway.identity import enrolment, passkeys, totp
from gateway.identity.authentication import SignInRefused
from gateway.identity.passwords import SUGGESTED_LENGTH, PasswordFault, find_fault, personal_words
from gateway.identity.provisioning import verify_setup_code
from gateway.portal import destinations
from gateway.portal.arrival import context_of
from gateway.portal.entrance import FLOWS, admit, flow_of, put_pending
from gateway.portal.flows import Flow, SetUp
from gateway.portal.forms import ForgedForm, read_form
from gateway.portal.handlers.new_factor import Around, passkey_page, totp_page
from gateway.portal.handlers.sign_in import REFUSED
from gateway.portal.pages import arrival, go, page
from gateway.state.records import Factor
from policies.reasons import Reason

_START = "/setup"
_STEPS = {"password": "/setup/password", "totp": "/setup/totp", "passkey": "/setup/passkey"}


async def show(request: web.Request) -> web.Response:
    """Ask for the login and the code of the letter."""
    return _code_form(request, flow_of(request))


async def take_code(request: web.Request) -> web.Response:
    """Check login and code; wrong ones count like wrong passwords."""
    flow, fields = await _posted(request)
    login = fields.get("login", "")
    try:
        user, code = await verify_setup_code(
            context_of(request), login, fields.get("code", ""), arrival(request).source
        )
    except SignInRefused as refused:
        return _code_form(request, flow, refused, login)
    flow.first, flow.set_up = None, SetUp(user, code)
    response = go(_STEPS["password"])
    put_pending(response, request.app[FLOWS].renew(flow, context_of(request).clock()))
    return response


async def show_password(request: web.Request) -> web.Response:
    """Choose a password, or go for a passkey alone."""
    flow = flow_of(request)
    if flow is None or flow.set_up is None:
        return go(_START)
    return _password_form(request, flow, None)


async def take_password(request: web.Request) -> web.Response:
    """Check the new password against the rules; it is stored with the last step only."""
    flow, fields = await _posted(request)
    if flow.set_up is None:
        return go(_START)
    user, password = flow.set_up.user, fields.get("password", "")
    personal = personal_words(user, context_of(request).settings.portal.organisation)
    fault = find_fault(password, fields.get("again", ""), personal)
    if fault is not None:
        return _password_form(request, flow, fault)
    flow.set_up.password_hash = await context_of(request).hasher.hash(password)
    return go(_STEPS["totp"])


async def show_totp(request: web.Request) -> web.Response:
    """Show the secret for the authenticator app; it stays the same until the step is done."""
    flow = flow_of(request)
    if flow is None or flow.set_up is None:
        return go(_START)
    if flow.set_up.password_hash is None:
        return go(_STEPS["password"])
    return _totp_form(request, flow, flow.set_up, None)


async def take_totp(request: web.Request) -> web.Response:
    """One code proves that the app is set up; then everything is stored and the person is in."""
    flow, fields = await _posted(request)
    set_up = flow.set_up
    if set_up is None or set_up.totp_secret is None or set_up.password_hash is None:
        return go(_START)
    context, label = context_of(request), fields.get("label", "")
    try:
        second = await enrolment.prove_totp(context, set_up.user, set_up.totp_secret, fields.get("code", ""), label)
    except SignInRefused as refused:
        return _totp_form(request, flow, set_up, refused)
    return await _complete(request, flow, set_up, second)


async def show_passkey(request: web.Request) -> web.Response:
    """Make a passkey in this browser or on a phone."""
    flow = flow_of(request)
    if flow is None or flow.set_up is None:
        return go(_START)
    return _passkey_form(request, flow, flow.set_up, failed=False)


async def take_passkey(request: web.Request) -> web.Response:
    """Verify the new passkey; then everything is stored and the person is in."""
    flow, fields = await _posted(request)
    set_up, ceremony = flow.set_up, flow.take_ceremony(fields.get("ceremony", ""))
    if set_up is None:
        return go(_START)
    try:
        label = enrolment.tidy_label(fields.get("label", ""))
        answer = fields.get("answer", "")
        second = passkeys.finish_registration(context_of(request), ceremony, set_up.user, answer, label)
    except passkeys.PasskeyRefused:
        return _passkey_form(request, flow, set_up, failed=True)
    return await _complete(request, flow, set_up, second)


async def _complete(request: web.Request, flow: Flow, set_up: SetUp, second: Factor) -> web.Response:
    context = context_of(request)
    try:
        proven = await enrolment.complete(
            context, set_up.user, set_up.code, set_up.password_hash, second, arrival(request).source
        )
    except SignInRefused as refused:
        flow.set_up = None
        return _code_form(request, flow, refused)
    return await admit(request, flow, proven, destinations.read(context, {}))


async def _posted(request: web.Request) -> tuple[Flow, dict[str, str]]:
    flow = flow_of(request)
    fields = await read_form(request, flow.key if flow is not None else None)
    if flow is None:
        raise ForgedForm("no set-up under way")
    return flow, dict(fields)


def _code_form(
    request: web.Request, flow: Flow | None, refused: SignInRefused | None = None, login: str = ""
) -> web.Response:
    token = None
    if flow is None:
        token, flow = request.app[FLOWS].start(context_of(request).clock())
    if refused is not None and refused.reason == Reason.CREDENTIALS_WRONG:
        error = "setup.error.wrong"
    else:
        error = "setup.error.other" if refused is not None else ""
    response = page(
        request,
        "setup_code.html",
        binding=flow.key,
        status=REFUSED if refused else 200,
        refused=refused,
        error=error,
        login=login,
    )
    if token is not None:
        put_pending(response, token)
    return response


def _password_form(request: web.Request, flow: Flow, fault: PasswordFault | None) -> web.Response:
    status = REFUSED if fault else 200
    return page(
        request,
        "setup_password.html",
        binding=flow.key,
        status=status,
        fault=fault,
        length=SUGGESTED_LENGTH,
        login=flow.set_up.user.login if flow.set_up else "",
    )


def _totp_form(request: web.Request, flow: Flow, set_up: SetUp, refused: SignInRefused | None) -> web.Response:
    set_up.totp_secret = set_up.totp_secret or totp.new_secret()
    around = Around(flow.key, _STEPS["totp"], steps=True)
    return totp_page(request, around, set_up.user, set_up.totp_secret, refused)


def _passkey_form(request: web.Request, flow: Flow, set_up: SetUp, *, failed: bool) -> web.Response:
    return passkey_page(request, Around(flow.key, _STEPS["passkey"], steps=True), set_up.user, flow, failed=failed)
