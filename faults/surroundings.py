"""Odd machines: clocks, locales, time zones, settings of Git, no home, no network, no terminal.

A registry is set up, filled, brought up to date and published in each of them, and has to come to
the same metafiles, objects and words as where nothing is odd.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from faults.trials import Order, Trial, side_by_side
from faults.wholeness import differences

SAMPLES = Path(__file__).parent.parent / "samples/02_data_collection_20_oct_2021"
_NAMES = ("bowl.png", "dogs.webp", "sunset.jpg")
_SECONDS = 600
# How many are tried at once, as each takes a minute of a processor.
_TOGETHER = 4
_METAFILES = ("*.dvc", "dvc.lock", "dvc.yaml", "*.yaml", ".gitignore", "config", "*.toml")
_GIT_SETTINGS = {
    "color.ui": "always",
    "core.autocrlf": "input",
    "core.commentChar": ";",
    "core.pager": "false",
    "core.quotePath": "true",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.renames": "copies",
    "log.decorate": "full",
    "log.showSignature": "true",
    "push.default": "matching",
    "push.followTags": "true",
    "status.relativePaths": "false",
    "status.short": "true",
    "status.showUntrackedFiles": "no",
}

_COMMANDS: Sequence[Sequence[str]] = (
    ("registry", "init", "."),
    ("git", "add", "--all"),
    ("git", "commit", "--quiet", "--message", "Start"),
    ("git", "remote", "add", "origin", "../origin.git"),
    ("git", "push", "--quiet", "origin", "main"),
    ("registry", "add", "01_a"),
    ("registry", "import", "01_a", "--into", "01_image_dataset"),
    ("registry", "materialize"),
    ("registry", "status"),
    ("registry", "lineage", "--check"),
    ("dvc", "status"),
    ("registry", "publish", "--branch", "done"),
)
_COMPARED = ("registry status", "registry lineage", "dvc status")


@dataclass(frozen=True)
class Surroundings:
    """What is odd about a machine.

    Attributes:
        variables: Of the environment; None removes one.
        before: Programs that start each command, by its number: the last one goes on.
        dates: When pictures were last written, in seconds since the epoch.
        umask: Of all that runs.
        has_input: Whether there is a standard input.
    """

    variables: Mapping[str, str | None] = field(default_factory=dict)
    before: Sequence[Sequence[str]] = ((),)
    dates: int | None = None
    umask: int = 0o022
    has_input: bool = True

    @property
    def is_started_oddly(self) -> bool:
        """Whether other programs start the commands."""
        return any(self.before)

    def rules_out(self, other: Surroundings) -> bool:
        """Whether the two cannot be together."""
        return bool(
            self.variables.keys() & other.variables.keys()
            or (self.is_started_oddly and other.is_started_oddly)
            or (self.dates and other.dates)
        )


def run(order: Order) -> Iterator[Trial]:
    """Does the same in odd surroundings, some at a time, and compares with plain ones."""
    found = surroundings(order.scratch)
    names = sorted(found)
    order.chance("surroundings").shuffle(names)
    groups = list(_group(names, found))
    with ThreadPoolExecutor(1) as beside:
        plain = beside.submit(outcome, order.scratch / "plain", Surroundings())

        def compare(number: int) -> Trial:
            chosen = groups[number % len(groups)]
            place = order.scratch / str(number)
            done = outcome(place, together(*(found[name] for name in chosen)))
            faults = tuple(differences(plain.result(), done))
            if not faults:
                shutil.rmtree(place)
            return Trial("odd machines", ", ".join(chosen), faults)

        yield from side_by_side(order, compare, ThreadPoolExecutor(order.jobs))
    wanted = plain.result()
    wrong = [f"{name}: {said}" for name, said in wanted.items() if name.endswith(" fails")]
    if wrong or not wanted["published"]:
        yield Trial("odd machines", "plain", tuple(wrong or ["nothing is published"]))


def _group(names: Sequence[str], found: Mapping[str, Surroundings]) -> Iterator[Sequence[str]]:
    """Yields a few at a time that do not rule each other out."""
    left = [*names]
    while left:
        chosen: list[str] = []
        for name in left:
            if len(chosen) < _TOGETHER and not any(
                found[name].rules_out(found[other]) for other in chosen
            ):
                chosen.append(name)
        yield chosen
        left = [name for name in left if name not in chosen]


def together(*odds: Surroundings) -> Surroundings:
    """Several surroundings in one, where they differ the last one."""
    return Surroundings(
        {name: value for odd in odds for name, value in odd.variables.items()},
        next((odd.before for odd in odds if odd.is_started_oddly), ((),)),
        next((odd.dates for odd in odds if odd.dates is not None), None),
        max(odd.umask for odd in odds),
        all(odd.has_input for odd in odds),
    )


def surroundings(scratch: Path) -> Mapping[str, Surroundings]:
    """All that this machine can provide, by name."""
    settings = {"GIT_CONFIG_COUNT": str(len(_GIT_SETTINGS))}
    for number, (key, value) in enumerate(_GIT_SETTINGS.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    found = {
        "locale C, no UTF-8 mode": Surroundings({"LC_ALL": "C", "PYTHONUTF8": "0"}),
        "time zone of Kiritimati": Surroundings({"TZ": "Pacific/Kiritimati"}),
        "time zone of St. John's": Surroundings({"TZ": "America/St_Johns"}),
        "umask 077": Surroundings(umask=0o077),
        "no HOME": Surroundings({"HOME": None}),
        "HOME nowhere": Surroundings({"HOME": "/nowhere"}),
        "no standard input": Surroundings(has_input=False),
        "python -O": Surroundings({"PYTHONOPTIMIZE": "1"}),
        "python -OO": Surroundings({"PYTHONOPTIMIZE": "2"}),
        "one column, colours": Surroundings({"COLUMNS": "1", "FORCE_COLOR": "1", "TERM": "dumb"}),
        "settings of Git": Surroundings(settings),
        "pictures of the future": Surroundings(dates=4_000_000_000),
        "pictures of 1960": Surroundings(dates=-300_000_000),
        "128 open files": Surroundings(before=(("prlimit", "--nofile=128"),)),
    }
    for locale, charset in (("tr_TR", "UTF-8"), ("ja_JP", "EUC-JP"), ("de_DE", "ISO-8859-1")):
        if _make_locale(scratch / "locales", locale, charset):
            variables = {"LOCPATH": str(scratch / "locales"), "LC_ALL": f"{locale}.{charset}"}
            found[f"locale {locale}.{charset}"] = Surroundings(variables)
    if _works("unshare", "--net", "true"):
        found["no network"] = Surroundings(before=(("unshare", "--net"),))
    if shutil.which("faketime"):
        clocks = [("faketime", "-f", offset) for offset in ("+5y", "-2d", "+1y", "-30d")]
        found["a clock that jumps"] = Surroundings(before=clocks)
        found["a clock of 2035"] = Surroundings(before=(("faketime", "2035-01-01"),))
    return found


def outcome(place: Path, odd: Surroundings) -> Mapping[str, object]:
    """Does all of it in a new folder; what it came to."""
    root, temporary = place / "registry", place / "tmp"
    for folder in (root, temporary):
        folder.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--bare", "origin.git"], cwd=place, check=True)
    variables = {
        **os.environ,
        "TMPDIR": str(temporary),
        **{f"GIT_{who}_NAME": "Faults" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "faults@example.org" for who in ("AUTHOR", "COMMITTER")},
        **odd.variables,
    }
    environment = {name: value for name, value in variables.items() if value is not None}
    found: dict[str, object] = {}
    for number, command in enumerate(_COMMANDS):
        start = odd.before[min(number, len(odd.before) - 1)]
        code, said = _call(root, (*start, *command), environment, odd)
        name = " ".join(command[:2])
        if code != 0:
            found[f"{name} fails"] = f"{code}: {said[-600:]}"
        elif name in _COMPARED:
            found[name] = said.replace(str(place), "…")
        if name == "git push":
            _shoot(root / "raw/01_a", odd.dates)
    found["files"] = dict(_metafiles(root, place))
    found["objects"] = sorted(p.name for p in (root / ".dvc/cache/files/md5").glob("??/*"))
    tree = (
        "git",
        "--git-dir",
        str(place / "origin.git"),
        "rev-parse",
        "--verify",
        "--quiet",
        "done^{tree}",
    )
    found["published"] = subprocess.run(tree, capture_output=True, text=True).stdout
    found["left"] = sorted(p.name for p in temporary.iterdir())
    return found


def _call(
    root: Path, command: Sequence[str], environment: Mapping[str, str], odd: Surroundings
) -> tuple[int, str]:
    close: Callable[[], None] | None = None if odd.has_input else lambda: os.close(0)
    done = subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        umask=odd.umask,
        preexec_fn=close,
        timeout=_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def _shoot(folder: Path, date: int | None) -> None:
    folder.mkdir(parents=True)
    for name in _NAMES:
        shutil.copy(SAMPLES / name, folder / name)
        os.utime(folder / name, (date or 1_600_000_000, date or 1_600_000_000))


def _metafiles(root: Path, place: Path) -> Iterator[tuple[str, str]]:
    for pattern in _METAFILES:
        for path in root.rglob(pattern):
            name = path.relative_to(root).as_posix()
            is_own = name.startswith((".git/", ".dvc/tmp", ".dvc/cache", ".dagster"))
            if path.is_file() and not is_own:
                text = path.read_bytes().replace(os.fsencode(place), b"...")
                yield name, hashlib.md5(text, usedforsecurity=False).hexdigest()


def _make_locale(folder: Path, locale: str, charset: str) -> bool:
    folder.mkdir(exist_ok=True)
    made = folder / f"{locale}.{charset}"
    return shutil.which("localedef") is not None and _works(
        "localedef", "-i", locale, "-f", charset, str(made)
    )


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
