"""Signed receipts: shown after a revocation, kept in a file, verified offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.call import tell
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.private_file import write_private

if TYPE_CHECKING:
    from audit.receipt import Receipt


def keep(text: object, path: Path | None) -> None:
    """Write the receipt to `path` where one is given; raises Failure rather than overwrite a file."""
    if path is None or not isinstance(text, str):
        return
    write_private(path, text + "\n", replace=False)
    tell(t(f"受領証を {path} に保存しました (確認: sekisho receipts verify {path})", f"receipt written to {path}"))


def opened(path: Path, key: Path) -> Receipt:
    """The receipt in a file, proven with the public key; raises Failure (integrity) where the proof fails."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from audit.receipt import ReceiptInvalid, verify_receipt

    try:
        public = load_pem_public_key(key.read_bytes())
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Failure(ExitCode.FAILED, f"{getattr(error, 'filename', None) or key}: {error}") from error
    if not isinstance(public, Ed25519PublicKey):
        raise Failure(ExitCode.FAILED, t(f"{key} は Ed25519 の公開鍵ではありません。", f"{key} is no Ed25519 key."))
    try:
        return verify_receipt(text, public)
    except ReceiptInvalid as error:
        message = t(f"{path}: 受領証の署名が正しくありません。", f"{path}: the receipt does not verify.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
