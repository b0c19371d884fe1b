"""Every rule that turns a path of the repository into a name in Dagster.

One place to override: subclass `RegistryTranslator`, and the keys of assets and the keys of the
dependencies that point at them change together.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from registry_assets.addresses import without_secrets
from registry_assets.model import ITEM, ImportedInput, Output, RawCollection, Stage, Tracked

Key = tuple[str, ...]
"""An asset key, one part per folder."""

COLLECTIONS = "collections"
"""The partitions that all families keyed by collection share."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]+")
_NOT_IN_A_KIND = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_KIND = 40


# Dagster takes no op of such a name, nor two of one name: the last ones are this package's own.
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
        """The key of the asset that stands for a path.

        Args:
            path: From the root; for a family, with `ITEM` where the item's name goes. The item's
                part is left out; where the item is only some of a part, the rest of it stays,
                unless that is punctuation.
        """
        parts = []
        for part in path.split("/"):
            rest = part.replace(ITEM, "")
            if rest == part or any(letter.isalnum() for letter in rest):
                parts.append(rest)
        return tuple(filter(None, parts)) or ("root",)

    def run_key(self, folder: str, stage: str) -> Key:
        """The key of the asset that stands for the runs of a stage that makes nothing.

        Args:
            folder: The folder of the ``dvc.yaml``, "" being the root.
            stage: The name; without the item where the items are partitions.
        """
        return self.asset_key(f"{folder}/{stage}" if folder else stage)

    def source_key(self, source: str) -> Key:
        """The key of the external asset for something outside this repository.

        Args:
            source: A path or an address. An absolute path gets ``file:`` for a first part, so that
                it is never taken for one from the root of the repository.
        """
        source = f"file:{source}" if source.startswith("/") else source
        return tuple(part for part in re.split(r"[/\\]+|(?<=:)", source) if part and part != ":")

    def group_name(self, folder: str) -> str:
        """The group of the assets that a folder declares, "" being the root."""
        return _NOT_IN_A_NAME.sub("_", folder.replace("/", "__")).strip("_") or "root"

    def partitions_name(self, key: Key) -> str:
        """The partitions of a family that is not keyed by collection."""
        return "/".join(key)

    def raw_description(self, collection: RawCollection | None, folder: str) -> str:
        """What a person wants to know of data as it was shot; None for a whole family."""
        if collection is not None and collection.description:
            return collection.description
        return (
            f"Collections as they were shot, in `{folder}/`. Materializing registers what is in "
            "the folder of that name now as its next version, as `dvc add` does."
        )

    def import_description(self, imported: ImportedInput | None, folder: str) -> str:
        """What a person wants to know of data that was taken in."""
        if imported is None:
            return (
                f"Collections that this data set has taken in, in `{folder}/`. Materializing one "
                "takes it in, or moves it on to the newest version of its source; *materialize all "
                "missing* takes in all that it lacks. One command takes one out again: `registry "
                f"take-out NAME --from {_dataset_above(folder)}`."
            )
        path = without_secrets(imported.source.path)
        if not imported.source.is_external:
            return f"Imported from `{path}` of this repository."
        if imported.repository is None:
            return f"Imported from `{path}`."
        return f"Imported from `{path}` of {without_secrets(imported.repository)}."

    def output_description(self, stage: Stage, output: Output) -> str:
        """What a person wants to know of an output, what tells it apart first."""
        command = f"```\n{stage.command}\n```" if stage.command else ""
        origin = (
            f"Runs of stage `{stage.name}`" if output.is_run else f"Made by stage `{stage.name}`"
        )
        lead = output.description or stage.description or f"{origin}."
        about = stage.description if output.description and stage.description else ""
        return "\n\n".join(text for text in (lead, about, command) if text)

    def kinds(self, what: Tracked | Stage | None, telling_part: str | None) -> frozenset[str]:
        """The labels on an asset's box, of which Dagster takes three.

        Args:
            what: What declares the asset, None being a family of collections.
            telling_part: The part of the key that tells the asset from others whose keys end
                alike, as the box shows the end only.
        """
        kinds = {"dvc"}
        if isinstance(what, Stage) and "python" in (what.command or ""):
            kinds.add("python")
        if telling_part is not None:
            kinds.add(_NOT_IN_A_KIND.sub("_", telling_part).strip("_.-")[:_LONGEST_KIND])
        return frozenset(kind for kind in kinds if kind)

    def metadata(self, path: str, metafile: str) -> Mapping[str, str]:
        """What is known of an asset before it is materialized."""
        return {"dvc/path": path.replace(ITEM, "*"), "dvc/metafile": metafile.replace(ITEM, "*")}

    def op_name(self, metafile: str, stage: str) -> str:
        """The name of the op that materializes a stage or family, unique in the repository."""
        folder = str(PurePosixPath(metafile).parent)
        name = _NOT_IN_A_NAME.sub("_", f"{folder}__{stage}".replace("/", "__")).strip("_")
        return f"{name}_" if not name or name in _RESERVED_NAMES else name


def _dataset_above(folder: str) -> str:
    """What to call the data set that a folder for imports lies in."""
    above = [part for part in folder.split("/")[:-1] if part != "data"]
    return above[-1] if above else "DATASET"
