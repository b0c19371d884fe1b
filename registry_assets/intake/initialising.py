"""Creating a registry, and adapting an existing one to this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from unicodedata import normalize

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.initialising import (
    Level,
    check_new,
    has_default_remote,
    init_dvc,
    lead_to_origin,
    mend_moved_remote,
    probe_link_type,
    register_clone,
    set_default_remote,
    set_link_type,
    why_unshared,
)
from registry_assets.dvc_repo.opening import STORAGE
from registry_assets.errors import RefusedError, RegistryError
from registry_assets.git_repo import GitRepo, check_git, check_own
from registry_assets.git_repo.conflicts import install_merge_driver
from registry_assets.git_repo.work_tree import check_checked_out, find_kept_out, kept_out
from registry_assets.images.algorithms import ALGORITHMS
from registry_assets.leftovers import find_leftover_in, ignore_lines
from registry_assets.model import DVC_FOLDER, PIPELINE_FILE, Registry, is_folder, name_of_folder
from registry_assets.registry.home import check_place, prepare_home, write_env
from registry_assets.registry.reading import read_registry
from registry_assets.revisions.changes.merge_driver import (
    DESCRIPTION,
    NAME,
    attribute_lines,
    driver_command,
)
from registry_assets.units import few_of
from registry_assets.writing import rename, sync_disks, write_whole

SHIPPED = Path(__file__).parents[1] / "shipped"
"""The example data set, sample photographs and settings that are part of the package."""

DATASET = "01_image_dataset"
REMOTE = "storage"
_DVC_CONFIG = ".dvc/config"
_WITHOUT_DVC, _WITH_DVC = "without-dvc", "with-dvc"

_PARAMETERS = "params.yaml"
_PROGRAM = "src/measure_images.py"

# The md5s of files as shipped earlier: a file with one of these was not edited.
_SHIPPED_BEFORE = frozenset(
    {
        "212deed233ac9aa99b849ce77cfb69af",  # README.md of frames 2 and measures 2
        "960636dcdaed0147debae6058b6b1c7a",  # dvc.yaml
        "4e9705f641990e4dbe424c457130e10f",  # src/extract_frames.py
        "726c46d3d1a9805418ff20d003a5c744",  # src/measure_images.py
        "0e5740e4c9b3713f7d5bd55a78114349",  # README.md of 0.1.0
        "e1cdbcac9184565c07d1b1e27f1f1e19",  # dvc.yaml
        "57b7d88c213c293413890c41dd253fca",  # src/arguments.py
        "78bc4e3fcc0422e0a672fa06a8c8121a",  # src/classify_day_night_and_foggy_images.py
        "f89adfc93533504595e1be00e50832e6",  # src/extract_frames.py
        "3ba6c5f163468c59b10a5a1369a8ae80",  # src/measure_images.py
        "b3da037ec78cea5ed535dff766684caa",  # src/remove_corrupted_images.py
        "0067c94ea18014dc69e730c73f70d5d6",  # src/remove_dark_and_bright_images.py
    }
)

COLLECTIONS = """\
# The collections of this data set, as quoted strings: - "02_harbour"
# Each needs a file decisions/NAME.yaml; if you add a line by hand, create it: decisions: []
collections: []
"""

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
description = "An image data registry under Git and DVC"
requires-python = ">=3.10"
dependencies = ["registry-assets"]

[tool.dagster]
module_name = "registry_assets.definitions"

[tool.registry_assets]
name = "{registry}"
box_names = "distinct"
families = ["raw/*", "processed/*/data/inputs/*"]
settle_seconds = 30
"""

_GITIGNORE = """\
__pycache__/
/.dagster/
/.env
/.tmp_dagster_home_*/
/.venv/
"""

_LEFTOVERS_HEADING = "# Files that file managers and NAS leave in folders: not part of collections."

_README = """\
# {name}

An image data registry: `raw/` contains raw collections, `processed/` the pipelines that turn them
into data sets.

    registry add NAME                        track raw/NAME with DVC
    registry import NAME --into {dataset}    import it into a data set
    registry materialize                     bring every data set up to date
    registry status                          show what is not up to date
    registry publish                         push data, and metafiles on a branch, for review
    registry ui                              open it in a browser
"""


def init_registry(root: Path, *, upgrade: bool = False) -> Iterator[str]:
    """Create a registry in a folder, or adapt an existing one to this machine.

    Keeps existing files, so it can be run again.

    Args:
        root: The folder; created if it does not exist.
        upgrade: Whether to update data sets with stages of an earlier version of this package.

    Yields:
        A message about each step.

    Raises:
        RegistryError: when the path is a file, or the folder cannot be created.
        RefusedError: when a registry exists, but is outside the sparse checkout.
    """
    check_place(root.absolute())
    if root.exists() and not root.is_dir():
        raise RegistryError(f"{root} is a file: name a folder")
    with _making(root):
        root = root.resolve()
        check_place(root)
        check_git()
        git = GitRepo(root)
        check_objects(git)
        check_checked_out(git)
        if find_kept_out(git).lacks(_DVC_CONFIG):
            raise kept_out(_DVC_CONFIG)
        check_new(root)
    begun = _read_begun(git) if git.is_present else None
    if (root / DVC_FOLDER).is_dir() and begun is None:
        yield from fit_to_machine(root)
        yield from _write_attributes(root)
        yield from _ignore_leftovers(root, *_find_recorded_leftovers(root))
        yield from _upgrade_datasets(root) if upgrade else _warn_outdated(root)
        yield from say_unshared(root)
        return
    if not git.is_present:
        git.init()
        yield "created a Git repository"
    if begun != _WITH_DVC or not (root / DVC_FOLDER).is_dir():
        _note_begun(git, _WITHOUT_DVC)
        if not (root / DVC_FOLDER / "cache/files").exists():
            if (root / DVC_FOLDER).exists():
                # Half of it, without settings and data.
                shutil.rmtree(root / DVC_FOLDER)
            init_dvc(root)
        _note_begun(git, _WITH_DVC)
        yield "created a DVC repository"
    yield from _write_files(root)
    if set_link_type(root, probe_link_type(root), "repo"):
        yield "the workspace is hardlinked to the cache: tracked files are read-only"
    if _set_storage(root, "repo"):
        yield (
            f"the default remote `{REMOTE}` is {STORAGE}; to share data, change its URL: "
            f"dvc remote modify {REMOTE} url URL"
        )
    yield from _write_attributes(root)
    yield from _ignore_leftovers(root, {}, [])
    yield from _install_merge_driver(root)
    yield from _write_env(root)
    _place_of_begun(git).unlink()


def _place_of_begun(git: GitRepo) -> Path:
    """The note in Git's own folder that a registry is being created, and how far it is.

    Without, what a killed command left would pass for a repository of DVC that is not ours.
    """
    done = git.call("rev-parse", "--path-format=absolute", "--git-path", "registry-init")
    return Path(os.fsdecode(done.stdout).rstrip("\n"))


def _read_begun(git: GitRepo) -> str | None:
    """How far a killed command got with a registry here; None if there was none."""
    place = _place_of_begun(git)
    if not place.exists():
        return None
    step, _, folder = place.read_text("utf-8", "surrogateescape").partition(" ")
    return step if folder == git.prefix() else None


def _note_begun(git: GitRepo, step: str) -> None:
    write_whole(_place_of_begun(git), f"{step} {git.prefix()}", errors="surrogateescape")


@contextmanager
def _making(root: Path) -> Iterator[None]:
    """Make a folder, and remove it again if it is refused within.

    Raises:
        RegistryError: when it cannot be made.
    """
    folder = root.absolute()
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"cannot create {root}: {error.strerror}; name another folder"
            ) from error
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


def check_objects(git: GitRepo) -> None:
    """Makes sure that DVC can read the Git repository around a registry, where there is one.

    Raises:
        RegistryError: when it cannot.
    """
    if git.is_present and not git.has_readable_objects:
        raise RegistryError(
            f"the Git repository of {git.root} uses SHA-256 object names, which DVC cannot read: "
            "create a new one with `git init --object-format=sha1`"
        )


def fit_to_machine(root: Path) -> Iterator[str]:
    """Set what depends on the machine: the link type, the remote if it has no URL, and so on."""
    check_own(root)
    link_type = probe_link_type(root)
    if set_link_type(root, link_type, "local"):
        yield f"cache.type: {link_type}, in .dvc/config.local"
    if _set_storage(root, "local"):
        yield f"default remote: {STORAGE}, in .dvc/config.local"
    for level in mend_moved_remote(root, root / STORAGE):
        yield f"default remote: {STORAGE}, relative to the registry, in .dvc/{level}"
    theirs = lead_to_origin(root)
    if theirs is not None:
        yield f"default remote: {theirs}, as in the registry that this one was cloned from"
    reason = register_clone(root)
    if reason is not None:
        yield reason
    yield from _install_merge_driver(root)
    yield from _write_env(root)


def _set_storage(root: Path, level: Level) -> bool:
    """Make a folder inside the registry its default remote, unless it has one."""
    if has_default_remote(root, REMOTE):
        return False
    # First, as a killed command must not leave a remote that Git would commit.
    _add_lines(root / DVC_FOLDER / ".gitignore", ["/storage"])
    return set_default_remote(root, REMOTE, root / STORAGE, level)


def say_unshared(root: Path) -> Iterator[str]:
    """Says why others do not reach the default remote, where that is so."""
    reason = why_unshared(root)
    if reason is not None:
        yield reason


def _write_files(root: Path) -> Iterator[str]:
    name = root.name
    files = {
        ".gitignore": _GITIGNORE,
        "README.md": _README.format(name=name, dataset=DATASET),
        "pyproject.toml": _PYPROJECT.format(
            name=_project_name(name), registry=name_of_folder(root)
        ),
        "dagster.yaml": (SHIPPED / "dagster.yaml").read_text(encoding="utf-8"),
        "workspace.yaml": (SHIPPED / "workspace.yaml").read_text(encoding="utf-8"),
        "raw/.gitignore": "",
        f"processed/{DATASET}/collections.yaml": COLLECTIONS,
    }
    files |= {f"processed/{DATASET}/{path}": text for path, text in shipped_files().items()}
    for path, text in files.items():
        place = root / path
        if place.exists():
            yield f"{path} exists already and was not changed"
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, text)
    yield f"wrote raw/ and processed/{DATASET}/, a data set of five stages"


def shipped_files(template: str = "dataset") -> Mapping[str, str]:
    """The files of a shipped data set, except those that each registry fills itself."""
    folder = SHIPPED / template
    scripts = sorted(f"src/{script.name}" for script in (folder / "src").glob("*.py"))
    paths = ("README.md", PIPELINE_FILE, _PARAMETERS, *scripts)
    return {path: (folder / path).read_text(encoding="utf-8") for path in paths}


def _outdated_datasets(root: Path) -> Iterator[Path]:
    """The data sets with our stages that state other versions of the algorithms."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for program in sorted(root.glob(f"processed/*/{_PROGRAM}")):
        folder = program.parents[1]
        # Invalid YAML is reported where the file is used.
        with suppress(OSError, YAMLError):
            stated = YAML(typ="safe").load(folder / _PARAMETERS)
            if not isinstance(stated, dict) or stated.get("algorithms") != ALGORITHMS:
                yield folder


def _warn_outdated(root: Path) -> Iterator[str]:
    for folder in _outdated_datasets(root):
        yield (
            f"{folder.relative_to(root)} was created by another version of registry-assets, and "
            "its stages may not run with this one: `registry init . --upgrade` updates them"
        )


def _upgrade_datasets(root: Path) -> Iterator[str]:
    """Update the stages of data sets to the shipped ones; keeps edited files."""
    for folder in _outdated_datasets(root):
        for path, text in shipped_files().items():
            place = folder / path
            before = place.read_text(encoding="utf-8") if place.exists() else ""
            name = place.relative_to(root)
            if path == _PARAMETERS:
                write_whole(place, _with_parameters(before, text))
                yield f"{name}: updated the versions of the algorithms; your values are unchanged"
            elif not before or _md5(before) in _SHIPPED_BEFORE:
                write_whole(place, text)
                yield f"wrote {name}"
            elif before != text:
                write_whole(place.with_name(f"{place.name}.new"), text)
                yield f"{name} was edited and is not changed: merge the new version, {name}.new"
        yield (
            f"{folder.relative_to(root)} has the stages of this version now: check `git diff`, "
            "then run `registry materialize`"
        )


def _with_parameters(before: str, shipped: str) -> str:
    """Update the versions of algorithms in parameters, and add missing parameters."""
    there, new = _blocks_of(f"{before.rstrip()}\n"), _blocks_of(shipped)
    added = {key: block for key, block in new.items() if key not in there}
    first = new["algorithms"] if "algorithms" in added else ""
    kept = (new[key] if key == "algorithms" else block for key, block in there.items())
    others = (block for key, block in added.items() if key != "algorithms")
    return first + "".join(kept) + "".join(others)


def _blocks_of(text: str) -> Mapping[str, str]:
    """The text of each key of a YAML file, with the comments above it; "" for the rest."""
    blocks: dict[str, str] = {}
    waiting, key = "", ""
    for line in text.splitlines(keepends=True):
        named = re.match(r"(\w+):", line)
        if named:
            key = named[1]
            blocks[key], waiting = waiting + line, ""
        elif line.startswith(" ") and key:
            blocks[key] += waiting + line
            waiting = ""
        else:
            waiting += line
    return {**blocks, "": waiting} if waiting else blocks


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _project_name(folder: str) -> str:
    """A valid project name (PEP 508) from the name of the folder."""
    ascii_only = normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_only).strip("._-") or "registry"


def _write_env(root: Path) -> Iterator[str]:
    """Set DAGSTER_HOME in `.env`, which Dagster's own commands read."""
    prepare_home(root)
    done = write_env(root) if (root / "dagster.yaml").exists() else None
    if done is not None:
        yield done


def _write_attributes(root: Path) -> Iterator[str]:
    """Configure in ``.gitattributes`` that Git merges metafiles by entry."""
    path, git = root / ".gitattributes", GitRepo(root)
    if find_kept_out(git).lacks(path.name):
        return
    if git.is_present and _add_lines(path, attribute_lines()):
        yield "configured in .gitattributes that metafiles are merged by entry"


def _ignore_leftovers(
    root: Path, recorded: Mapping[str, Sequence[str]], unread: Sequence[str]
) -> Iterator[str]:
    """Have DVC ignore leftovers of file managers, except those that recorded versions contain.

    Ignoring the latter would make these versions appear modified.

    Args:
        root: Root of the registry.
        recorded: The outputs that contain leftovers, by pattern.
        unread: Messages about outputs that could not be checked.
    """
    path = root / ".dvcignore"
    there = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = {name: line for name, line in ignore_lines().items() if line not in there}
    if unread and lines:
        yield (
            f"leftovers of file managers are not in .dvcignore, because {few_of(unread)} may "
            "contain some: run `dvc fetch`, then `registry init` again"
        )
        return
    added = [line for name, line in lines.items() if name not in recorded]
    if added:
        _add_lines(path, [_LEFTOVERS_HEADING, *added])
        yield "added leftovers of file managers and NAS to .dvcignore, such as .DS_Store and @eaDir"
    for name in lines.keys() & recorded.keys():
        yield (
            f"{name} is not in .dvcignore, because {few_of(recorded[name])} contains such files: "
            f"add the line {lines[name]}, and `registry add` records the next version without them"
        )


def _find_recorded_leftovers(root: Path) -> tuple[Mapping[str, list[str]], list[str]]:
    """The outputs that contain leftovers of file managers, by pattern; and those not readable."""
    try:
        dvc = DvcRepo(root)
        registry = read_registry(root, dvc)
    except RegistryError as error:
        return {}, [str(error)]
    recorded: dict[str, list[str]] = {}
    unread = list(registry.problems)
    listings = dvc.listings()
    for path, output in registry.outputs.items():
        if output.version is None or not output.is_cached or not is_folder(output.version.md5):
            continue
        files = listings.read(output.version.md5)
        if files is None:
            unread.append(path)
        for pattern in set(filter(None, map(find_leftover_in, files or ()))):
            recorded.setdefault(pattern, []).append(path)
    return recorded, unread


def _install_merge_driver(root: Path) -> Iterator[str]:
    git = GitRepo(root)
    command = driver_command(git.top() or root)
    if git.is_present and install_merge_driver(git, NAME, DESCRIPTION, command):
        yield "Git merges metafiles by entry in this clone (`merge.registry` in .git/config)"


def _add_lines(path: Path, lines: Iterable[str]) -> bool:
    """Add missing lines to a file; returns whether there were any."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    added = [line for line in lines if line not in before]
    if added:
        write_whole(path, "".join(f"{line}\n" for line in [*before, *added]))
    return bool(added)


def check_samples_fit(registry: Registry) -> None:
    """Make sure that a registry has no collections of its own, beside samples of the demo.

    Raises:
        RefusedError: when it has.
    """
    samples = {folder.name for folder in _sample_folders()}
    own = sorted({tracked.name for tracked in registry.tracked} - samples)
    if own:
        raise RefusedError(
            f"{registry.root} has collections of its own ({few_of(own)}), and the demo would put "
            "samples beside them and push: run it in another folder, `registry demo DIR`"
        )


def copy_samples(root: Path) -> list[str]:
    """Copy missing sample collections into the raw folder.

    Returns:
        The names of all sample collections.
    """
    names = []
    for folder in _sample_folders():
        names.append(folder.name)
        target = root / "raw" / folder.name
        if not target.exists():
            # Copied elsewhere first: a collection must appear complete.
            unfinished = root / DVC_FOLDER / "tmp" / f"{folder.name}.copying"
            shutil.rmtree(unfinished, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, unfinished)
            sync_disks(unfinished)
            rename(unfinished, target)
    return names


def _sample_folders() -> list[Path]:
    return sorted(path for path in (SHIPPED / "samples").iterdir() if path.is_dir())
