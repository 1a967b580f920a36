"""Serial numbers of certificates as operators type them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def checked_serial(text: str) -> str:
    """The form in which certificates are compared: as OpenSSL or a browser prints them, any of their spellings."""
    digits = text.strip().lower().removeprefix("0x").replace(":", "").replace(" ", "").lstrip("0")
    if not 0 < len(digits) <= 40 or any(digit not in "0123456789abcdef" for digit in digits):
        raise ValueError("証明書のシリアル番号 (16進) を指定してください。")
    return digits


def optional_serial(text: str) -> str:
    """The same, or nothing."""
    return checked_serial(text) if text else ""


Serial = Annotated[str, AfterValidator(checked_serial)]
