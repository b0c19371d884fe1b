"""Small registries to be disturbed, each with what lies around it.

A *site* is a folder with a registry, the bare repository that it pushes Git history to, a folder
for temporary files, and one for what commands make beside the registry. Sites are copied whole,
with the links between workspace and cache.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults.programs import Ended, Kill, check, run

DATASET = "processed/texts"
NAMES = ("01_a", "02_b", "03_c")
# For each collection, so that the listings differ.
FILES = 5
_PIPELINE = """\
vars:
  - collections.yaml
stages:
  upper:
    foreach: ${collections}
    do:
      cmd: >-
        mkdir -p data/intermediate/upper/${item}
        && for f in data/inputs/${item}/*;
        do tr a-z A-Z < $f > data/intermediate/upper/${item}/$(basename $f); done
      deps:
        - data/inputs/${item}
      params:
        - suffix
      outs:
        - data/intermediate/upper/${item}
  count:
    foreach: ${collections}
    do:
      cmd: >-
        mkdir -p data/outputs/lines data/outputs/names
        && cat data/intermediate/upper/${item}/* | wc -l > data/outputs/lines/${item}
        && ls data/intermediate/upper/${item} > data/outputs/names/${item}
      deps:
        - data/intermediate/upper/${item}
      outs:
        - data/outputs/lines/${item}
        - data/outputs/names/${item}
"""
# Of the second picture of the first collection.
_MD5 = hashlib.md5(f"{NAMES[0]} 1 \n".encode(), usedforsecurity=False).hexdigest()
# Commits have the same ids, whenever they are made.
_DATES = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Site:
    """A registry with what lies around it, in a folder of its own."""

    place: Path

    @property
    def root(self) -> Path:
        """The registry."""
        return self.place / "registry"

    @property
    def origin(self) -> Path:
        """The bare repository that it pushes Git history to."""
        return self.place / "origin.git"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of what runs here."""
        return self.place / "tmp"

    @property
    def beside(self) -> Path:
        """The folder for clones, other registries and exports."""
        return self.place / "beside"

    @property
    def cache(self) -> Path:
        """The cache, which may be on a disk of its own."""
        outside = self.place / "disk/cache"
        return outside if outside.exists() else self.root / ".dvc/cache"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables for what runs here."""
        return {**_DATES, "TMPDIR": str(self.temporary)}

    def run(self, *command: str, kill: Kill | None = None, count: bool = False) -> Ended:
        """Runs a program in the registry; see `programs.run`."""
        return run(
            self.root,
            *command,
            environment=self.environment,
            kill=kill,
            count=count,
            watched=self.place,
        )

    def check(self, *command: str) -> str:
        """Runs a program in the registry; raises when it fails."""
        return check(self.root, *command, environment=self.environment)

    def copy(self, place: Path) -> Site:
        """Copies all of it to a place that does not exist yet."""
        subprocess.run(["cp", "-a", str(self.place), str(place)], check=True)
        other = Site(place)
        for file in (other.root / ".env", other.root / ".git/config"):
            text = file.read_text(encoding="utf-8").replace(str(self.place), str(place))
            file.write_text(text, encoding="utf-8")
        return other

    def remove(self) -> None:
        """Removes all of it."""
        shutil.rmtree(self.place)


def shoot(site: Site, name: str, files: int = FILES, words: str = "") -> None:
    """Puts text files into a collection in `raw/`."""
    folder = site.root / "raw" / name
    folder.mkdir(exist_ok=True)
    for number in range(files):
        text = f"{name} {number} {words}\n"
        (folder / f"{words or 'file'}{number}.txt").write_text(text, encoding="utf-8")


def commit(site: Site, message: str) -> None:
    """Commits all that Git does not ignore."""
    site.check("git", "add", "--all")
    site.check("git", "commit", "--quiet", "--message", message)


def build_site(place: Path) -> Site:
    """Makes a registry with two collections that went all the way, committed and pushed."""
    site = Site(place)
    site.temporary.mkdir(parents=True)
    site.beside.mkdir()
    run(place, "git", "init", "--quiet", "--bare", "origin.git")
    check(place, "registry", "init", "registry", environment=site.environment)
    shutil.rmtree(site.root / "processed")
    dataset = site.root / DATASET
    dataset.mkdir(parents=True)
    (dataset / "dvc.yaml").write_text(_PIPELINE, encoding="utf-8")
    (dataset / "params.yaml").write_text("suffix: 1\n", encoding="utf-8")
    (dataset / "collections.yaml").write_text("collections: []\n", encoding="utf-8")
    commit(site, "Start")
    site.check("git", "remote", "add", "origin", str(site.origin))
    for name in NAMES[:2]:
        shoot(site, name)
        site.check("registry", "add", name)
        site.check("registry", "import", name, "--into", DATASET)
    site.check("registry", "materialize")
    commit(site, "Two collections")
    site.check("registry", "push")
    site.check("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return site


@cache
def build_base(place: Path) -> Site:
    """Makes such a registry for all parts, once; to be copied."""
    return build_site(place)


def move_cache(site: Site) -> None:
    """Moves the cache to a folder outside of the registry, unless it is there."""
    if site.cache.is_relative_to(site.root):
        (site.place / "disk").mkdir()
        site.cache.rename(site.place / "disk/cache")
        site.check("dvc", "cache", "dir", "--local", "../disk/cache")


@dataclass(frozen=True)
class Scenario:
    """A command, and the registry that it starts from.

    Attributes:
        name: Its name.
        after: The scenario that it follows, on whose result it builds; "" for `build_site`.
        prepare: What changes before.
        command: The program and its arguments.
    """

    name: str
    after: str
    prepare: Callable[[Site], object]
    command: Sequence[str]


def _nothing(site: Site) -> None:
    pass


def _shoot_third(site: Site) -> None:
    shoot(site, NAMES[2])


def _shoot_more(site: Site) -> None:
    shoot(site, NAMES[0], 3, "more")
    (site.root / "raw" / NAMES[0] / "file1.txt").unlink()


def _shoot_elsewhere(site: Site) -> None:
    shoot(site, "04_d")
    (site.place / "card").mkdir()
    (site.root / "raw/04_d").rename(site.place / "card/04_d")


def _update_source(site: Site) -> None:
    _shoot_more(site)
    site.check("registry", "add", NAMES[0])


def _reproduce(site: Site) -> None:
    (site.root / DATASET / "params.yaml").write_text("suffix: 2\n", encoding="utf-8")
    site.check("dvc", "repro", "--quiet", "--all-pipelines")


def _third_to_head(site: Site) -> None:
    site.check("git", "tag", "before")
    commit(site, "Three collections")


def _push_all(site: Site) -> None:
    commit(site, "Three collections")
    site.check("registry", "push")
    site.check("git", "push", "--quiet", "origin", "main")


def _conflict(site: Site) -> None:
    """Two branches that each made something else, merged without our merge driver."""
    site.check("git", "checkout", "--quiet", "-b", "theirs")
    shoot(site, "04_d")
    site.check("registry", "materialize", "--collection", "04_d")
    commit(site, "Theirs")
    site.check("registry", "checkout", "main")
    shoot(site, "05_e")
    site.check("registry", "materialize", "--collection", "05_e")
    commit(site, "Ours")
    site.run("git", "-c", "merge.registry.driver=false", "merge", "theirs")


def _publish_storage(site: Site) -> None:
    """The remote storage at a place of its own, as imports by URL need it; nothing changes it."""
    storage = site.place.parent / "storage"
    (site.root / ".dvc/storage").rename(storage)
    site.check("dvc", "remote", "modify", "storage", "url", str(storage))
    _push_all(site)


def _decide(site: Site) -> None:
    """A data set that follows decisions."""
    site.check("registry", "new", "pictures")
    site.check("registry", "import", NAMES[0], "--into", "pictures")


def _send_to_workers(site: Site) -> None:
    """Stages are made by other processes, which store what they make in the same cache."""
    move_cache(site)
    with (site.root / "pyproject.toml").open("a", encoding="utf-8") as settings:
        settings.write(
            "\n[tool.registry_assets.workers]\n"
            'command = "REGISTRY_WORK_CACHE=$PWD/../disk/cache REGISTRY_WORK_FOLDER=$PWD/../work '
            'registry work - --attached"\n'
        )


def _lose_use(site: Site) -> None:
    """Versions that nothing needs any more."""
    for words in ("one", "two"):
        shoot(site, NAMES[1], 3, words)
        site.check("registry", "add", NAMES[1])
    site.check("git", "checkout", "--quiet", "--", ".")
    site.check("dvc", "checkout", "--force", "--quiet")
    site.check("registry", "sync")


WITH_WORKERS = "materialize with workers"
SCENARIOS = tuple(
    Scenario(name, after, prepare, ("registry", *command))
    for name, after, prepare, command in (
        ("add", "", _shoot_third, ("add", NAMES[2])),
        ("add again", "", _shoot_more, ("add", NAMES[0])),
        ("add from elsewhere", "", _shoot_elsewhere, ("add", "../card/04_d")),
        ("import", "add", _nothing, ("import", NAMES[2], "--into", DATASET)),
        ("materialize", "import", _nothing, ("materialize",)),
        (WITH_WORKERS, "import", _send_to_workers, ("materialize",)),
        ("deny", "", _decide, ("deny", f"raw/{NAMES[0]}/file1.txt", "--why", "dark")),
        ("allow", "", _decide, ("allow", f"raw/{NAMES[0]}/file1.txt", "--why", "a work of art")),
        ("update", "", _update_source, ("update",)),
        ("sync", "", _reproduce, ("sync",)),
        ("publish", "materialize", _nothing, ("publish",)),
        ("push", "materialize", _nothing, ("push",)),
        ("checkout", "materialize", _third_to_head, ("checkout", "before")),
        ("resolve", "", _conflict, ("resolve",)),
        ("forget", "", _nothing, ("forget", f"raw/{NAMES[0]}/file1.txt")),
        (
            "purge",
            "",
            _nothing,
            ("forget", _MD5, "--purge", "--all-remotes", "--yes"),
        ),
        ("gc", "", _lose_use, ("gc", "--yes")),
        ("take-out", "materialize", _nothing, ("take-out", NAMES[2], "--from", DATASET)),
        ("new", "", _nothing, ("new", "pictures")),
        ("init", "", _nothing, ("init", "../beside/other")),
        ("clone", "materialize", _push_all, ("clone", "../registry", "../beside/clone")),
        ("export", "", _nothing, ("export", "texts", "--to", "../beside/texts")),
        ("tag", "materialize", _publish_storage, ("tag", f"{DATASET}/1", "--push")),
    )
)
