"""The machine around us: open files, the clock, and whether our packages' names are ours alone."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import packages_distributions

from gateway.doctor_parts.finding import Finding, Told, fault, good, note
from gateway.settings import Settings

OURS = ("audit", "cli", "gateway", "mdm_sim", "policies")
_DISTRIBUTION = "sekisho"
_APART = 1000  # files a worker needs beside its connections
_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield how the limits, the clock and the installed packages stand."""
    yield open_files(settings.limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield clock(clock_state)
    yield names(packages_distributions())


def open_files(connections: int, limit: int) -> Finding:
    """A connection of a person may need one to an app as well."""
    check, needed = "machine.open-files", 2 * connections + _APART
    if limit != resource.RLIM_INFINITY and limit < needed:
        return note(
            check,
            Told(f"開けるファイル {limit} 個。設定の接続数には {needed} 個要ります",
                 f"{limit} open files; the connections allowed need {needed}"),
            Told("LimitNOFILE= を上げる(または limits.connections を下げる)",
                 "raise LimitNOFILE=, or lower limits.connections"),
        )  # fmt: skip
    return good(check, "開けるファイルの数は足ります", "enough files may be open")


def clock_state() -> int:
    """Return what the kernel says of the clock (adjtimex(2)): 0 to 4 = kept, 5 = by nobody; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(libc.adjtimex(ctypes.create_string_buffer(256)))  # struct timex, all zero: only asks
    if answer < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return answer


def clock(state: Callable[[], int]) -> Finding:
    """Records and sign-in codes need the right time."""
    check = "machine.clock"
    remedy = Told("chrony か systemd-timesyncd で時刻を合わせる", "keep the time by chrony or systemd-timesyncd")
    try:
        kept = state() != _UNSYNCHRONISED
    except (OSError, AttributeError) as error:
        return note(check, Told(f"確かめられません: {error}", f"cannot be told: {error}"), remedy)
    if not kept:
        return note(check, Told("時計がどこにも同期していません", "nobody keeps the clock"), remedy)
    return good(check, "時計は同期しています", "the clock is kept")


def names(providers: Mapping[str, list[str]]) -> Finding:
    """`providers` names the distributions that bring each package: another one's `cli` would be run as ours."""
    check = "machine.names"
    strangers = sorted(
        {f"{name} ({each})" for name in OURS for each in providers.get(name, ()) if each != _DISTRIBUTION}
    )
    if strangers:
        shown = ", ".join(strangers)
        return fault(
            check,
            Told(f"ほかの配布物と名前が重なっています: {shown}", f"names that others bring as well: {shown}"),
            Told("専用の仮想環境に入れ直す", "install into an environment of its own"),
        )
    return good(check, "名前の重なりはありません", "no names are shared with others")
