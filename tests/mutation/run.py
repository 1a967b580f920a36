"""Change the gate, the policy engine and the journal in small ways and count what the unit tests notice.

    python -m tests.mutation.run [package …] [--sample N | --all] [--seed S …] [--least PERCENT]

Works on a copy of the tree in a temporary folder. Of each package a sample of its mutants, drawn with the seed, is
tried: first against the tests that run the changed function, then the others that run the module, then all of the
package's own. A mutant that no test notices has survived. Mutants that change nothing anybody could see are listed,
with the reason, in equivalent.toml and are not drawn.
Exit 0: every package reaches the score with every seed; 1: one does not; 2: the tests fail without any change.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import MODULE, Mutant, mutants
from tests.mutation.swap import Attempt, noticed_by_swapping
from tests.mutation.trial import Baseline, all_pass, baseline, prepare

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "gate": ("gateway/gate/*.py",),
    "policies": ("policies/*.py",),
    "journal": tuple(
        f"audit/{name}.py" for name in ("journal", "journal_thread", "segment", "segment_writer", "reader", "anonymous")
    ),
}
OWN_TESTS = {"gate": "tests/unit/gate/", "policies": "tests/unit/policies/", "journal": "tests/unit/audit/"}
OTHER_TESTS = {"gate": ("tests/corpora", "tests/unit/gateway/test_gatekeeper.py")}
LEAST = 80.0  # percent
SAMPLE = 150
SLACK = 20.0  # seconds beyond five times what the tests take unchanged


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mutant of one file."""

    file: str
    mutant: Mutant

    @property
    def known_as(self) -> tuple[str, str, str]:
        """How equivalent.toml names it."""
        return self.file, self.mutant.place.name, self.mutant.change

    def __str__(self) -> str:
        return f"{self.file}:{self.mutant.line} {self.mutant.place.name}: {self.mutant.change}"


def main() -> int:
    """Copy the tree and measure there; with --here, measure in the folder where we are."""
    arguments = _arguments()
    if arguments.here:
        return _measure(arguments)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = Path(folder) / "tree"
        _copy_tree(tree)
        if (beside := ROOT.parent / "shared").is_dir():  # tests look for the shared corpora beside the tree
            (tree.parent / "shared").symlink_to(beside)
        command = [sys.executable, "-m", "tests.mutation.run", "--here", *sys.argv[1:]]
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
        return subprocess.run(command, cwd=tree, env=environment, check=False).returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="*", choices=[*PACKAGES, []], help="default: all three")
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="mutants of each package")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], dest="seeds", metavar="S")
    parser.add_argument("--least", type=float, default=LEAST, metavar="PERCENT")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _copy_tree(folder: Path) -> None:
    """Copy what git knows or would know, as it lies in the tree now."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def _measure(arguments: argparse.Namespace) -> int:
    prepare()
    packages = arguments.package or list(PACKAGES)
    known = baseline([path for package in packages for path in _tests(package)])
    if not known.passed:
        sys.stderr.write("tests fail without any change: mend them first (their output stands above)\n")
        return 2
    sys.dont_write_bytecode = True  # what the baseline wrote serves; a changed module must leave nothing behind
    for name in known.foreign:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    scores = [_measure_package(package, seed, known, arguments) for package in packages for seed in arguments.seeds]
    return 0 if all(score >= arguments.least for score in scores) else 1


def _measure_package(package: str, seed: int, known: Baseline, arguments: argparse.Namespace) -> float:
    """Try a package's mutants, print the survivors and return the score in percent."""
    began = time.monotonic()
    candidates, equivalent = _candidates(package)
    drawn = candidates
    if not arguments.all and arguments.sample < len(candidates):
        places = random.Random(seed).sample(range(len(candidates)), arguments.sample)  # noqa: S311
        drawn = [candidates[place] for place in sorted(places)]
    if drawn and _noticed(package, drawn[0], ROOT.joinpath(drawn[0].file).read_text(encoding="utf-8"), known):
        raise SystemExit(f"{package}: the tests of {drawn[0].file} fail on a module that nobody changed")
    quickly = _swapped(package, drawn, known)
    survivors = [one for one in drawn if one not in quickly and not _noticed(package, one, one.mutant.source(), known)]
    killed = len(drawn) - len(survivors)
    score = 100 * killed / len(drawn) if drawn else 0.0
    for survivor in survivors:
        sys.stdout.write(f"survived  {survivor}\n")
    sys.stdout.write(
        f"{package}: {killed} killed, {len(survivors)} survived, score {score:.1f} % of {len(drawn)} tried"
        f" ({len(candidates)} possible, {equivalent} set aside as equivalent, seed {seed},"
        f" {time.monotonic() - began:.0f} s)\n"
    )
    sys.stdout.flush()
    return score


def _candidates(package: str) -> tuple[list[Candidate], int]:
    """Return a package's mutants without those that are equivalent, and how many these are."""
    rows = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text(encoding="utf-8"))["mutant"]
    equivalent = {(row["file"], row["function"], row["change"]) for row in rows if row["reason"]}
    files = sorted(path for pattern in PACKAGES[package] for path in ROOT.glob(pattern))
    every = [
        Candidate(str(path.relative_to(ROOT)), mutant)
        for path in files
        for mutant in mutants(path.read_text(encoding="utf-8"))
    ]
    kept = [candidate for candidate in every if candidate.known_as not in equivalent]
    present = {candidate.known_as for candidate in every}
    for file, function, change in sorted(equivalent - present):
        if any(file == candidate.file for candidate in every):
            sys.stdout.write(f"equivalent.toml names what is no mutant any more: {file} {function}: {change}\n")
    return kept, len(every) - len(kept)


def _swapped(package: str, drawn: list[Candidate], known: Baseline) -> list[Candidate]:
    """Return those changes of functions that are noticed when only the function's code is exchanged."""
    inside = [one for one in drawn if one.mutant.place.function != MODULE]
    attempts = []
    for one in inside:
        tests = _concerned(package, one, known)
        attempts.append(Attempt(Path(one.file), one.mutant, tests, _limit(tests, known)))
    places = noticed_by_swapping(attempts, _tests(package), sum(attempt.seconds for attempt in attempts))
    return [inside[place] for place in places]


def _tests(package: str) -> tuple[str, ...]:
    """Where the tests lie that answer for a package."""
    return (OWN_TESTS[package], *OTHER_TESTS.get(package, ()))


def _limit(tests: list[str], known: Baseline) -> float:
    """How many seconds the tests have."""
    return SLACK + 5 * sum(known.seconds[test] for test in tests)


def _noticed(package: str, candidate: Candidate, source: str, known: Baseline) -> bool:
    """Put the source in the file's place, run what concerns it, and put the file back."""
    path = ROOT / candidate.file
    before, times = path.read_bytes(), path.stat()
    tests = _concerned(package, candidate, known)
    try:
        path.write_text(source, encoding="utf-8")
        os.utime(path, (0, 0))  # never the time that compiled code was made for
        return any(not all_pass(step, _limit(step, known)) for step in (_likeliest(tests, candidate, known), tests))
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _likeliest(tests: list[str], candidate: Candidate, known: Baseline) -> list[str]:
    """Return those tests that stand in the file with most tests of the changed module: one file is soon collected."""
    touching = [test for test in tests if any(file == candidate.file for file, _ in known.functions[test])]
    files = Counter(test.partition("::")[0] for test in touching or tests)
    return [test for test in tests if test.partition("::")[0] == files.most_common(1)[0][0]]


def _concerned(package: str, candidate: Candidate, known: Baseline) -> list[str]:
    """Order the tests that may notice: by how near they are, then by how quick."""

    def distance(test: str) -> int | None:
        if not test.startswith(_tests(package)):
            return None
        functions = known.functions[test]
        if candidate.mutant.place.function != MODULE and (candidate.file, candidate.mutant.place.function) in functions:
            return 0
        if any(file == candidate.file for file, _ in functions):
            return 1
        return 2 if test.startswith(OWN_TESTS[package]) else None

    near = {test: far for test in known.functions if (far := distance(test)) is not None}
    return sorted(near, key=lambda test: (near[test], known.seconds[test]))


if __name__ == "__main__":
    sys.exit(main())
