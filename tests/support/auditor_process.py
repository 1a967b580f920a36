"""A process that grows the transparency log over journals which appear one by one, and says each signed size and root.

`python -m tests.support.auditor_process DIR`: the journals lie in DIR/hidden and appear in DIR/journal by a link, the
log grows in DIR/log, DIR/key signs. `s SIZE ROOT` goes out once `commit` has returned. A fault ends the process, as it
ends the auditor's: its supervisor starts the next one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from audit.auditor import Auditor
from audit.checkpoint import read_signer
from tests.support import short_writes


def main(root: Path) -> None:
    """Let each journal appear, take it in, sign."""
    auditor = Auditor(root / "journal", root / "log", read_signer((root / "key").read_text()))
    for hidden in sorted((root / "hidden").iterdir()):
        shown = root / "journal" / hidden.name
        if not shown.is_symlink():
            shown.symlink_to(hidden)
        while auditor.poll():
            pass
        if auditor.commit() is not None and auditor.signed is not None:
            os.writev(1, [f"s {auditor.signed.size} {auditor.signed.root.hex()}\n".encode()])
    auditor.close()


if __name__ == "__main__":
    short_writes.install(Path(sys.argv[1]) / "log")
    main(Path(sys.argv[1]))
