"""All that we use of DVC beyond its public interface, and why nothing public serves.

`tests/test_private_apis.py` says of each name what we rely on, so that an upgrade fails there, in
words, and not somewhere in a run. No other module names what starts with ``_`` in DVC or in the
libraries that it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.config import Config, _pack_named
from dvc.stage.run import _make_cmd

from registry_assets.dvc_repo.metafiles import replace_text

if TYPE_CHECKING:
    from dvc.ignore import DvcIgnoreFilter, DvcIgnorePatterns


class WholeConfig(Config):  # type: ignore[misc]
    """DVC's configuration, written in one rename, and also where it holds more than ASCII.

    DVC reads that, but when it writes, it empties the file and then breaks off. `Config.edit` does
    much that has to stay as it is (paths told from where the file is, the check of the whole), and
    takes neither an encoding nor another place to write to: we replace the last that it calls.
    """

    def _save_config(self, level: str, conf_dict: Mapping[str, object]) -> None:
        # Few commands write a configuration.
        from configobj import ConfigObj

        stream = BytesIO()
        ConfigObj(_pack_named(conf_dict), encoding="utf-8").write(stream)
        replace_text(Path(self.files[level]), stream.getvalue().decode("utf-8"))


def shell_command(executable: str | None, command: str) -> str | list[str]:
    """What DVC starts for a line of a stage's command: a shell that reads nobody's settings.

    Its public `run_stage` waits for the command, which can then neither be stopped nor heard.

    Args:
        executable: The shell, as `dvc.stage.run.get_executable` says.
        command: The line.
    """
    started: str | list[str] = _make_cmd(executable, command)
    return started


def patterns_above(ignore: DvcIgnoreFilter, folder: str) -> DvcIgnorePatterns:
    """The patterns of the ignore files in a folder and above it, merged.

    Of the public attribute `DvcIgnoreFilter.ignores_trie_fs`, each folder that has a ``.dvc`` of
    its own is a pattern, too, as if somebody had written it; all other public ways answer for one
    path at a time.

    Args:
        ignore: Of the repository.
        folder: Absolute, in the repository.
    """
    return ignore._get_trie_pattern(folder, ignore_subrepos=False)
