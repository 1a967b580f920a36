"""A person's authenticator app for tests: each code counts once, and is still good when the clock turns over meanwhile.

The server takes the codes of the step before, of the current one and of the next (`gateway.identity.totp`), each step
once and in order. A test that takes the code of a step which is about to end fails once in some hundred runs.
"""

from __future__ import annotations

import time

import pyotp

from gateway.identity.totp import STEP_SECONDS

_ROOM = 10.0  # seconds that a code is good for at least


class Authenticator:
    """The codes of one secret."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._last = 0

    def code(self) -> str:
        """A code behind all that were given before; where it would come too early, once the server takes it.

        The first one is that of the step before, if that is good for long enough: it leaves two more at once.
        """
        now = time.time()
        first = int(now // STEP_SECONDS) - (STEP_SECONDS - now % STEP_SECONDS > _ROOM)
        self._last = max(first, self._last + 1)
        time.sleep(max(0.0, (self._last - 1) * STEP_SECONDS - time.time() + 0.1))
        return pyotp.TOTP(self.secret).generate_otp(self._last)
