"""All private names of DVC that we use, and why no public one serves.

`tests/test_private_apis.py` tests what we rely on, so that an incompatible DVC fails there and not
in a run. No other module uses names starting with ``_`` of DVC or its libraries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.config import Config, _pack_named
from dvc.stage.run import _make_cmd
from dvc_data.hashfile.state import State
from dvc_data.json_compat import dumps as dumps_json

from registry_assets.dvc_repo.metafiles import replace_text, scratch_below

if TYPE_CHECKING:
    from dvc.ignore import DvcIgnoreFilter, DvcIgnorePatterns


class WholeConfig(Config):  # type: ignore[misc]
    """DVC's configuration, written atomically and in UTF-8.

    DVC truncates the file and then fails if the configuration is not ASCII. `Config.edit` does much
    that we need (relative paths, validation) but accepts no encoding, so we override the method
    that writes the file.
    """

    def _save_config(self, level: str, conf_dict: Mapping[str, object]) -> None:
        # Imported here, as few commands write a configuration.
        from configobj import ConfigObj

        stream = BytesIO()
        ConfigObj(_pack_named(conf_dict), encoding="utf-8").write(stream)
        # Not beside the file, where Git would see what a killed process leaves.
        scratch = scratch_below(Path(self.dvc_dir)) if level in ("repo", "local") else None
        replace_text(Path(self.files[level]), stream.getvalue().decode("utf-8"), scratch=scratch)


def shell_command(executable: str | None, command: str) -> str | list[str]:
    """The arguments to run a line of a stage's command as DVC does: a shell without user settings.

    DVC's public `run_stage` waits for the command, which then can neither be stopped nor logged.

    Args:
        executable: The shell, from `dvc.stage.run.get_executable`.
        command: The line.
    """
    started: str | list[str] = _make_cmd(executable, command)
    return started


def patterns_above(ignore: DvcIgnoreFilter, folder: str) -> DvcIgnorePatterns:
    """The merged patterns of the ignore files in a folder and above it.

    The public `DvcIgnoreFilter.ignores_trie_fs` also has a pattern for each nested DVC repository,
    and other public methods check one path at a time.

    Args:
        ignore: The ignore filter of the repository.
        folder: Absolute, in the repository.
    """
    return ignore._get_trie_pattern(folder, ignore_subrepos=False)


_SOME_SIZE = 2**62 + 1
_ENTRY = {
    "version": State.HASH_VERSION,
    "checksum": "?",
    "size": _SOME_SIZE,
    "hash_info": {"md5": "?"},
}
# With or without spaces, as DVC writes JSON here.
STATE_ENTRY, _SIZE, _MD5, _END = dumps_json(_ENTRY).replace(str(_SOME_SIZE), "?").split("?")
"""How entries in DVC's state database begin: up to a hash of inode, mtime and size."""


def state_entry(inode: int, mtime: float, size: int) -> tuple[str, str]:
    """What stands before and after the md5 of a file in its entry in DVC's state database.

    The public `State.save_many` and `State.get_many` build or parse six objects for each file,
    which is most of what a look at a large collection takes. Entries of another form, as another
    version of DVC writes them, are left to `State.get_many`.

    Args:
        inode: Of the file.
        mtime: As in `os.stat_result.st_mtime`.
        size: In bytes.
    """
    # `dvc_data.hashfile.state._checksum`
    text = f"([{inode}, {mtime}, {size}],)"
    checksum = int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16)
    return f"{STATE_ENTRY}{checksum}{_SIZE}{size}{_MD5}", _END
