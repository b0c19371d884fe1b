"""Making a folder a DVC repository, and configuring it for this machine."""

from __future__ import annotations

import os
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dvc.config import Config
from dvc.config_schema import RelPath
from dvc.repo import Repo
from dvc_objects.fs.system import reflink

from registry_assets.addresses import is_local
from registry_assets.dvc_repo.clones import leave_unregistered, register
from registry_assets.dvc_repo.internals import WholeConfig
from registry_assets.dvc_repo.opening import (
    STORAGE,
    check_user,
    describe_missing_cache,
    find_origin_remote,
    find_outer_cache,
    missing_cache,
    open_bounded,
    translated_errors,
)
from registry_assets.errors import RegistryError

LinkType = Literal["reflink", "hardlink", "copy"]
Level = Literal["repo", "local"]


def check_new(root: Path) -> None:
    """Makes sure that a folder is a DVC repository, or can be made one.

    Raises:
        RegistryError: when it lies in another DVC repository.
        UnusableError: when the user has no name.
    """
    if not (root / Repo.DVC_DIR).is_dir():
        check_outside(root)
        check_user()


def init_dvc(root: Path) -> None:
    """Makes a folder, which `check_new` lets pass, a DVC repository."""
    git = next((f for f in (root, *root.parents) if (f / ".git").exists()), None)
    with translated_errors():
        Repo.init(str(root), no_scm=git is None, subdir=git not in (None, root)).close()


def check_outside(root: Path) -> None:
    """Makes sure that a folder is in no DVC repository, unless it has a Git repository of its own.

    Raises:
        RegistryError: when it does.
    """
    if (root / ".git").exists():
        return
    around = next((f for f in root.parents if (f / Repo.DVC_DIR).is_dir()), None)
    if around is not None:
        raise RegistryError(f"{root} lies in the DVC repository {around}: name a folder elsewhere")


def probe_link_type(root: Path) -> LinkType:
    """Finds, by trying, the best type of link between files in a repository."""
    # Git ignores what a killed command leaves there.
    folder = root / Repo.DVC_DIR / "tmp"
    folder.mkdir(exist_ok=True)
    source = folder / f".probe-{uuid.uuid4().hex}"
    target = source.with_suffix(".link")
    source.write_bytes(b"probe")
    try:
        for link_type, link in (("reflink", reflink), ("hardlink", os.link)):
            try:
                link(str(source), str(target))
            except OSError:
                target.unlink(missing_ok=True)
            else:
                return link_type  # type: ignore[return-value]
        return "copy"
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def set_link_type(root: Path, link_type: LinkType, level: Level) -> bool:
    """Sets ``cache.type`` for hardlinks, unless it is set.

    DVC's default handles reflinks and copies. Hardlinks must come first in the list, or new outputs
    are copied.
    """
    if link_type != "hardlink":
        return False
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR))
        if config["cache"].get("type"):
            return False
        with config.edit(level) as edited:
            edited["cache"]["type"] = ["hardlink", "copy"]
    return True


def has_default_remote(root: Path, name: str) -> bool:
    """Whether the default remote has a URL, or a remote of that name where none is the default."""
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR))
        return config["core"].get("remote", name) in config["remote"]


def set_default_remote(root: Path, name: str, folder: Path, level: Level) -> bool:
    """Configures a folder as default remote, unless there is one.

    The URL of a folder inside the registry is relative, so that the registry can be moved. If the
    shared configuration names a default remote without a URL, that remote gets this one.
    """
    if has_default_remote(root, name):
        return False
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR))
        chosen = config["core"].get("remote", name)
        with config.edit(level) as edited:
            edited["remote"][chosen] = {"url": _url_of(root, folder)}
            if not config["core"].get("remote"):
                edited["core"]["remote"] = chosen
    return True


def _url_of(root: Path, folder: Path) -> str:
    return RelPath(folder) if folder.is_relative_to(root) else str(folder)


def mend_moved_remote(root: Path, storage: Path) -> list[str]:
    """Makes the URL of the default remote relative, if it names the storage inside the registry.

    A former version wrote the absolute path, which is wrong after the registry is moved. The
    storage of another registry, which a clone may use, is left alone.

    Args:
        root: The registry.
        storage: The folder of the default remote in it.

    Returns:
        The configuration files that were changed.
    """
    place = root / Repo.DVC_DIR
    files: dict[Level, str] = {"repo": Config.CONFIG, "local": Config.CONFIG_LOCAL}
    mended = []
    with translated_errors():
        name = WholeConfig(str(place))["core"].get("remote")
        for level, file in files.items():
            config = WholeConfig(str(place)).load_one(level)
            url = config["remote"].get(name, {}).get("url") if name else None
            if (
                url is None
                or isinstance(url, RelPath)
                or Path(url).parts[-2:] != storage.parts[-2:]
            ):
                continue
            if Path(url) == storage or storage.is_dir() or not Path(url).exists():
                with WholeConfig(str(place)).edit(level) as edited:
                    edited["remote"][name]["url"] = _url_of(root, storage)
                mended.append(file)
    return mended


def lead_to_origin(root: Path) -> str | None:
    """Configures a clone to use the storage of its origin; see `find_origin_remote`.

    Returns:
        The storage of the origin; None if nothing was configured.
    """
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR))
        remotes = find_origin_remote(config, root)
        for name, settings in remotes.items():
            with config.edit("local") as edited:
                edited["remote"][name] = dict(settings)
    return next((settings["url"] for settings in remotes.values()), None)


def keep_together(root: Path) -> None:
    """Makes DVC keep its state inside the repository, not in a site-wide folder.

    The site-wide folder keeps state for every path that a repository was ever at. The repository is
    not registered with its cache either.
    """
    leave_unregistered(root)
    folder = root / Repo.DVC_DIR
    with translated_errors(), WholeConfig(str(folder)).edit("local") as edited:
        edited["core"]["site_cache_dir"] = str(folder / "tmp" / "site")


@dataclass(frozen=True)
class SharedRemote:
    """The default remote in the committed configuration.

    Attributes:
        url: None if the configuration names the remote without a URL.
        is_relative: Whether the URL is relative to the configuration file.
    """

    name: str
    url: str | None
    is_relative: bool


def read_shared_remote(root: Path) -> SharedRemote | None:
    """Reads the default remote from ``.dvc/config`` only, which is committed."""
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR)).load_one("repo")
    name = config["core"].get("remote")
    if not name:
        return None
    url = config["remote"].get(name.lower(), {}).get("url")
    return SharedRemote(name, url and str(url), isinstance(url, RelPath))


def register_clone(root: Path) -> str | None:
    """Has those who free objects in a cache outside of a clone know what it needs.

    Returns:
        Why they do not, with the next step; None where they do, or need not.
    """
    cache = _find_outer_cache(root)
    if cache is None:
        return None
    if not cache.is_dir():
        return describe_missing_cache(cache)
    try:
        register(cache, root)
    except OSError as error:
        return (
            f"this clone cannot be noted beside the cache {cache} ({error.strerror}), so `registry "
            "gc` in other clones does not know what it needs: have its group let you write there"
        )
    return None


def check_cache(root: Path) -> None:
    """Makes sure that a cache outside of a clone is there: DVC would make one in its place.

    Raises:
        RefusedError: when it is not.
    """
    cache = _find_outer_cache(root)
    if cache is not None and not cache.is_dir():
        raise missing_cache(cache)


def _find_outer_cache(root: Path) -> Path | None:
    with translated_errors(), closing(open_bounded(root)) as repo:
        return find_outer_cache(repo)


def why_unshared(root: Path) -> str | None:
    """Why others, or this machine, do not reach the default remote, with the next step.

    Args:
        root: The registry.

    Returns:
        None where nothing here speaks against it; whether it answers is not asked.
    """
    with translated_errors():
        config = WholeConfig(str(root / Repo.DVC_DIR))
    shared = read_shared_remote(root)
    name = config["core"].get("remote")
    if not name:
        return (
            "there is no default remote, so the data is on this machine only: `dvc remote add -d "
            "storage URL`, then `registry push`, and commit .dvc/config"
        )
    if shared is None or shared.url is None:
        return (
            f"the address of the remote {name} is in this machine's own settings, which Git leaves "
            f"out, so other clones have none: `dvc remote add -d -f {name} URL` and `dvc remote "
            f"remove --local {name}`, then `registry push`, and commit .dvc/config"
        )
    url = str(config["remote"].get(name.lower(), {}).get("url") or shared.url)
    folder = Path(url) if is_local(url) else None
    is_own = folder is not None and folder == root / STORAGE
    if folder is not None and not folder.is_dir() and not is_own:
        return (
            f"there is no folder {url} on this machine, which the remote {name} leads to: mount "
            "the disk or share that it is on, or name its place here: `dvc remote modify --local "
            f"{name} url FOLDER`"
        )
    if shared.is_relative:
        return (
            f"the remote {name} is told from where each clone lies, so that it is reached on this "
            f"machine at most: `dvc remote modify {name} url URL`, then `registry push`, and "
            "commit .dvc/config"
        )
    return None


def share_settings(root: Path, other: Path) -> None:
    """Makes a clone use the cache and the local remote settings of another clone.

    The default remote stays the committed one.
    """
    share_cache(root, other)
    with translated_errors():
        theirs = WholeConfig(str(other / Repo.DVC_DIR)).load_one("local")
        with WholeConfig(str(root / Repo.DVC_DIR)).edit("local") as edited:
            edited["remote"].update(theirs["remote"])


def share_cache(root: Path, other: Path) -> None:
    """Makes a repository use the cache folder and link types of another one."""
    with translated_errors():
        theirs = Repo(str(other))
        try:
            folder, types = str(theirs.cache.local_cache_dir), theirs.config["cache"].get("type")
        finally:
            theirs.close()
        with WholeConfig(str(root / Repo.DVC_DIR)).edit("local") as edited:
            edited["cache"]["dir"] = folder
            if types:
                edited["cache"]["type"] = types
