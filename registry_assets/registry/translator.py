"""Every rule that turns a path of the repository into a name in Dagster.

One place to override: subclass `RegistryTranslator`, and the keys of assets and the keys of the
dependencies that point at them change together.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from registry_assets.addresses import without_secrets
from registry_assets.model import ITEM, ImportedInput, Output, RawCollection, Stage, Tracked

Key = tuple[str, ...]
"""An asset key, one part per folder."""

COLLECTIONS = "collections"
"""The name of the partitions whose keys are collections."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]+")
_NOT_IN_A_KIND = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_KIND = 40


# Dagster refuses these names for ops, and two ops of one name: the last lines are names of our ops.
_RESERVED_NAMES = {
    *keyword.kwlist,
    *("arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "input_arg_dict"),
    *("int", "meta", "output", "output_arg_dict", "str", "type"),
    *("bring", "bring_up_to_date", "check_cache", "in_cache", "matches_dvc_lock", "no_duplicates"),
    *("publish", "publish_metafiles", "take_in_collection"),
}


class RegistryTranslator:
    """The default rules."""

    def asset_key(self, path: str) -> Key:
        """The key of the asset for a path.

        Args:
            path: The path from the root. In the path of a family, `ITEM` stands for the item and is
                removed; what is left of that part stays if it contains a letter or digit.
        """
        parts = []
        for part in path.split("/"):
            rest = part.replace(ITEM, "")
            if rest == part or any(letter.isalnum() for letter in rest):
                parts.append(rest)
        return tuple(filter(None, parts)) or ("root",)

    def distinct_keys(self, keys: Sequence[Key]) -> list[Key]:
        """The keys of the outputs of a stage, whose boxes in the graph then have distinct names.

        Where several have the same last part, it takes up the parts before it, as many as it needs:
        ``(…, "outputs", "day_images_foggy")``. So names depend on one stage alone, and stay when
        another is added. Keys stay as they are where that does not help.

        Args:
            keys: The keys of the paths.
        """
        joined = [_join_last_parts(key, keys) for key in keys]
        names = [key[-1] for key in joined]
        return joined if len({*names}) == len(names) else [*keys]

    def run_key(self, folder: str, stage: str) -> Key:
        """The key of the asset for the runs of a stage without outputs.

        Args:
            folder: The folder of the ``dvc.yaml``, "" for the root.
            stage: The name of the stage, without the item if items are partitions.
        """
        return self.asset_key(f"{folder}/{stage}" if folder else stage)

    def source_key(self, source: str) -> Key:
        """The key of the external asset for something outside this repository.

        Args:
            source: A path or an address. The key of an absolute path begins with ``file:``, so
                that it differs from that of a path from the root of the repository.
        """
        source = f"file:{source}" if source.startswith("/") else source
        return tuple(part for part in re.split(r"[/\\]+|(?<=:)", source) if part and part != ":")

    def group_name(self, folder: str) -> str:
        """The group of the assets that a folder declares, "" for the root."""
        return _NOT_IN_A_NAME.sub("_", folder.replace("/", "__")).strip("_") or "root"

    def partitions_name(self, key: Key) -> str:
        """The name of a family's partitions whose keys are not collections."""
        return "/".join(key)

    def raw_description(self, collection: RawCollection | None, folder: str) -> str:
        """The description of a raw collection, or of a family of them if None."""
        if collection is not None and collection.description:
            return collection.description
        return (
            f"Raw collections, in `{folder}/`. Materializing one records the current content of "
            "its folder as the next version, as `dvc add` does."
        )

    def import_description(self, imported: ImportedInput | None, folder: str) -> str:
        """The description of an import, or of a family of them if None."""
        if imported is None:
            return (
                f"Collections that this data set has taken in, in `{folder}/`. Materializing one "
                "takes it in, or updates it to the newest version of its source; *materialize all "
                "missing* takes in all missing ones. To remove one, run `registry take-out NAME "
                f"--from {_dataset_above(folder)}`."
            )
        path = without_secrets(imported.source.path)
        if not imported.source.is_external:
            return f"Imported from `{path}` of this repository."
        if imported.repository is None:
            return f"Imported from `{path}`."
        return f"Imported from `{path}` of {without_secrets(imported.repository)}."

    def output_description(self, stage: Stage, output: Output) -> str:
        """The description of an output: its own, that of its stage, and the command."""
        command = f"```\n{stage.command}\n```" if stage.command else ""
        origin = (
            f"Runs of stage `{stage.name}`" if output.is_run else f"Made by stage `{stage.name}`"
        )
        lead = output.description or stage.description or f"{origin}."
        about = stage.description if output.description and stage.description else ""
        return "\n\n".join(text for text in (lead, about, command) if text)

    def kinds(self, what: Tracked | Stage | None, telling_part: str | None) -> frozenset[str]:
        """The kinds of an asset, labels on its box in the graph; Dagster allows three.

        Args:
            what: What declares the asset; None for a family of collections.
            telling_part: The part of the key that distinguishes the asset from others with the same
                last part, as the box shows only that.
        """
        kinds = {"dvc"}
        if isinstance(what, Stage) and "python" in (what.command or ""):
            kinds.add("python")
        if telling_part is not None:
            kinds.add(_NOT_IN_A_KIND.sub("_", telling_part).strip("_.-")[:_LONGEST_KIND])
        return frozenset(kind for kind in kinds if kind)

    def metadata(self, path: str, metafile: str) -> Mapping[str, str]:
        """The metadata of an asset's definition."""
        return {"dvc/path": path.replace(ITEM, "*"), "dvc/metafile": metafile.replace(ITEM, "*")}

    def op_name(self, metafile: str, stage: str) -> str:
        """The name of the op that materializes a stage or family, unique in the repository."""
        folder = str(PurePosixPath(metafile).parent)
        name = _NOT_IN_A_NAME.sub("_", f"{folder}__{stage}".replace("/", "__")).strip("_")
        return f"{name}_" if not name or name in _RESERVED_NAMES else name


def _join_last_parts(key: Key, others: Sequence[Key]) -> Key:
    alike = [other for other in others if other[-1] == key[-1] and other != key]
    count = 1
    while count < len(key) and any(other[-count:] == key[-count:] for other in alike):
        count += 1
    return (*key[:-count], "_".join(key[-count:]))


def _dataset_above(folder: str) -> str:
    """The name of the data set that a folder for imports belongs to."""
    above = [part for part in folder.split("/")[:-1] if part != "data"]
    return above[-1] if above else "DATASET"
