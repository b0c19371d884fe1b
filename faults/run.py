"""Breaks the product on purpose, and compares with an undisturbed run: `make faults`.

Each part disturbs commands on registries of its own, from the outside, and then looks: the same
metafiles as without the disturbance, `dvc status` clean, `registry lineage --check` in agreement,
history and cache whole, nothing left running or lying about. Exit 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults import branches, crowd, disks, hostile, kills, power, remotes, surroundings
from faults.programs import import_all
from faults.trials import Order, Part

# A part is a line here, and a module with a function `run`. Those with the longest trials come
# first: what they take beyond their share, all others give.
PARTS: Mapping[str, Part] = {
    "branches": Part("looks at branches that strangers made", 2, branches.run),
    "surroundings": Part("odd clocks, locales, settings and limits", 4, surroundings.run),
    "remotes": Part("remotes that stall, drop, refuse, cut short or lie", 4, remotes.run),
    "power": Part("cuts the power: takes away what was not synced", 5, power.run),
    "kills": Part("kills commands at random moments, and runs them again", 6, kills.run),
    "disks": Part("disks that are full, read-only or gone", 3, disks.run),
    "crowd": Part("8 processes with 50 commands each on one registry", 3, crowd.run),
    "hostile": Part("opens damaged pictures, videos and archives", 1, hostile.run),
}

# Of one trial; the others mostly follow from them.
_MOST_TOLD = 3
_SECONDS_BETWEEN_COUNTS = 60
# Where files are in memory, which is quicker, and how much has to be free there.
_MEMORY = Path("/dev/shm")
_FREE_BYTES = 4 * 2**30


def main() -> None:
    """Runs the parts that are asked for, and says what is wrong."""
    arguments = _arguments()
    names = arguments.parts or list(PARTS)
    end = time.monotonic() + 60 * arguments.minutes
    wrong = 0
    with _scratch(arguments.scratch) as scratch:
        _isolate(scratch / "home")
        # Before any part has threads, which a fork would lack.
        import_all()
        for number, name in enumerate(names):
            # Of the time that is left, as parts end their last trials after their time.
            shares = sum(PARTS[other].share for other in names[number:])
            now = time.monotonic()
            own_end = now + max(0.0, end - now) * PARTS[name].share / shares
            place = scratch / name
            place.mkdir()
            order = Order(arguments.seed, own_end, place, scratch / "shared", arguments.jobs)
            wrong += _run(name, order)
    print(f"{wrong} faults" if wrong else "no fault")
    sys.exit(bool(wrong))


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    """A folder to work in, removed afterwards unless it was named."""
    if folder is None:
        is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _FREE_BYTES
        above = _MEMORY if is_roomy and "TMPDIR" not in os.environ else None
        with tempfile.TemporaryDirectory(prefix="faults-", dir=above) as made:
            yield Path(made)
    else:
        folder.mkdir(parents=True)
        yield folder.resolve()


def _arguments() -> argparse.Namespace:
    parts = "\n".join(f"  {name:12} {part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="make faults",
        description=f"{__doc__}\nparts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of chance")
    parser.add_argument("--minutes", type=float, default=14, help="in all; default: 14")
    parser.add_argument("--jobs", type=int, default=2, help="trials at the same time; default: 2")
    parser.add_argument("--scratch", type=Path, help="a new folder to work in, which is kept")
    arguments = parser.parse_args()
    unknown = ", ".join(sorted(set(arguments.parts) - PARTS.keys()))
    if unknown:
        parser.error(f"no such part: {unknown}; there are {', '.join(PARTS)}")
    return arguments


def _run(name: str, order: Order) -> int:
    started = time.monotonic()
    print(f"{name}: {PARTS[name].about} (--seed {order.seed})", flush=True)
    trials: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    told = started
    try:
        for trial in PARTS[name].run(order):
            trials[trial.kind] += 1
            wrong[trial.kind] += bool(trial.faults)
            for fault in trial.faults[:_MOST_TOLD]:
                print(f"  WRONG {trial.kind}, {trial.how}: {fault}", flush=True)
            if time.monotonic() - told > _SECONDS_BETWEEN_COUNTS:
                told = time.monotonic()
                _tell(trials.total(), "so far", wrong.total(), told - started)
    except Exception:
        # The other parts have their turn.
        traceback.print_exc()
        wrong["all of it, which broke off"] += 1
    finally:
        # Also after Ctrl-C.
        for kind, count in sorted(trials.items()):
            print(f"  {count:5} {kind}" + (f", {wrong[kind]} with faults" if wrong[kind] else ""))
        _tell(trials.total(), "in all", wrong.total(), time.monotonic() - started)
    return wrong.total()


def _tell(trials: int, when: str, wrong: int, seconds: float) -> None:
    print(f"  {trials:5} {when}, {wrong} with faults, {seconds:.0f} s", flush=True)


def _isolate(home: Path) -> None:
    """Keeps this machine's settings, caches and histories out."""
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Faults\n\temail = faults@example.org\n"
        "[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n',
        encoding="utf-8",
    )
    for name in ("DAGSTER_HOME", "REGISTRY_ROOT", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
    os.environ |= {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_NO_ANALYTICS": "1",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
        # `dvc` and `registry` are those of this environment, also where it is not activated.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


if __name__ == "__main__":
    main()
