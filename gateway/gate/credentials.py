"""Our own cookies in a request: found by bytes, never parsed into a jar (RFC 6265 §5.4 gives one line)."""

from __future__ import annotations

from hashlib import sha256

APP_COOKIE = b"__Host-sekisho-app"
PORTAL_COOKIE = b"__Host-sekisho"
STATE_COOKIE = b"__Host-sekisho-state"

TOKEN_LENGTH = 43  # base64url of 32 bytes without padding

_ENDS = (b"", b";")
_APP = APP_COOKIE + b"="
_PORTAL = PORTAL_COOKIE + b"="
_STATE = STATE_COOKIE + b"="


def app_token(cookies: bytes | None) -> bytes | None:
    """Return the token of the app host's cookie, or None where there is not exactly one well-formed one."""
    return _token(cookies, _APP)


def portal_token(cookies: bytes | None) -> bytes | None:
    """Return the token of the portal's cookie, or None where there is not exactly one well-formed one."""
    return _token(cookies, _PORTAL)


def state_token(cookies: bytes | None) -> bytes | None:
    """Return the text of the app host's state cookie, or None; only base64url counts, since it is sent back."""
    token = _token(cookies, _STATE)
    return token if token is not None and token.replace(b"-", b"").replace(b"_", b"").isalnum() else None


def _token(cookies: bytes | None, name: bytes) -> bytes | None:
    if cookies is None:
        return None
    place = cookies.find(name)
    if place < 0:
        return None
    end = place + len(name) + TOKEN_LENGTH
    alone = cookies.find(name, place + 1) < 0
    if alone and (place == 0 or cookies[place - 2 : place] == b"; ") and cookies[end : end + 1] in _ENDS:
        token = cookies[place + len(name) : end]
        return token if len(token) == TOKEN_LENGTH and b";" not in token else None
    # Only around a pair are blanks nothing: a name with one inside has no prefix that browsers guard (RFC 6265bis).
    pairs = [pair.strip(b" \t") for pair in cookies.split(b";")]
    found = [pair[len(name) :] for pair in pairs if pair.startswith(name)]
    return found[0] if len(found) == 1 and len(found[0]) == TOKEN_LENGTH else None


def digest_of(token: bytes) -> bytes:
    """Return the SHA-256 of a token's text: the only form in which tokens are kept or looked up."""
    return sha256(token).digest()
