"""Two versions, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import TypedDict

from starlette.routing import BaseRoute

from registry_assets.look.answers import ask
from registry_assets.look.open_registry import OpenRegistry, Reading
from registry_assets.look.queries import BadRequestError
from registry_assets.model import Version, folders_above, is_folder
from registry_assets.revisions.changes.committing import OutputChange
from registry_assets.revisions.changes.families import FamilyPlace, Role
from registry_assets.revisions.changes.image_changes import Kind
from registry_assets.revisions.changes.report import class_name
from registry_assets.revisions.versions.diff_report import ReasonJson, diff_as_json
from registry_assets.revisions.versions.diffing import Diff, compare_revisions


class ChangedFamilyJson(TypedDict):
    """How many images of a family changed.

    Attributes:
        family: Its path.
        role: ``raw``, ``input`` of a data set, or ``end``, such as a class.
    """

    family: str
    role: Role
    added: int
    removed: int


_SHOWN: Sequence[Role] = ("end", "input", "raw", "between")
"""The outputs whose pictures are shown: the first kind that changed, as many have the same ones."""

_Between = TypedDict("_Between", {"from": str, "to": str})


class ChangedPictureJson(_Between):
    """A picture that one of two versions has, or that is in another class in the other one.

    Attributes:
        md5: Its content; of one that went, what it was.
        path: Its path in the collection.
        from: The class that it was in, or the family; empty if it was in none.
        to: The class that it is in, or the family; empty if it is in none.
        stage: The stage that caused it; empty if the collection itself changed.
        here: Whether its content is in the cache.
    """

    md5: str
    collection: str
    path: str
    stage: str
    here: bool


class ComparedJson(TypedDict):
    """The differences between two versions of a source.

    Attributes:
        a: The first version, in words; likewise ``b``.
        came: Pictures that only the second one has.
        went: Pictures that only the first one has.
        moved: Pictures that are in another class.
        reasons: Changed parameters, code and commands.
        unread: Outputs that could not be compared, as their listings are nowhere to be had.
    """

    a: str
    b: str
    families: Sequence[ChangedFamilyJson]
    came: Sequence[ChangedPictureJson]
    went: Sequence[ChangedPictureJson]
    moved: Sequence[ChangedPictureJson]
    reasons: Sequence[ReasonJson]
    unread: Sequence[str]


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The route of two versions."""
    return [ask(registry, "/api/diff", compare)]


def compare(opened: OpenRegistry, query: Mapping[str, str]) -> ComparedJson:
    """Answer ``api/diff``.

    Raises:
        BadRequestError: when no source is named, or the versions are the same.
        NotFoundError: when there is no such version or source.
    """
    source, a, b = (query.get(name, "") for name in ("source", "a", "b"))
    if not source:
        raise BadRequestError("no data set or folder is named: add source=PATH")
    if a == b:
        raise BadRequestError("the two versions are the same: choose another")
    reading = opened.read()
    is_dataset = any(source == dataset.path for dataset in reading.registry.datasets)
    diff = compare_revisions(
        reading.lineage,
        a or None,
        b or None,
        dataset=source if is_dataset else None,
        report=lambda _line: None,
    )
    changes = [c for c in diff.changes if is_dataset or _is_in(c.path, source)]
    # The page shows pictures that only an earlier version has.
    reading.recorded.add(
        version.md5
        for change in changes
        for version in (change.before, change.after)
        if version is not None
    )
    pictures = _Pictures(reading, diff, changes)
    said = diff_as_json(diff, files=False)
    return {
        "a": str(diff.before),
        "b": str(diff.after),
        "families": [
            {
                "family": family["name"],
                "role": family["role"],
                "added": family["images"].added,
                "removed": family["images"].removed,
            }
            for family in said["families"]
            if is_dataset or _is_in(family["name"], source) or _is_in(source, family["name"])
        ],
        # A file with another content under the same name is another picture.
        "came": list(pictures.find("added", "changed", is_after=True)),
        "went": list(pictures.find("removed", "changed", is_after=False)),
        "moved": list(pictures.find("moved", is_after=True)),
        "reasons": said["reasons"],
        "unread": [path for path in diff.data.unread if is_dataset or _is_in(path, source)],
    }


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


class _Pictures:
    """The changed pictures of some outputs, where a data set shows them: in its classes, if any."""

    def __init__(self, reading: Reading, diff: Diff, outputs: Iterable[OutputChange]) -> None:
        self._reading = reading
        self._diff = diff
        self._files_in = cache(self._read_files)
        self._outputs = {change.path: change for change in outputs}
        roles = {place.role for path in self._outputs if (place := self._place(path)) is not None}
        self._role = next((role for role in _SHOWN if role in roles), None)

    def find(self, *kinds: Kind, is_after: bool) -> Iterator[ChangedPictureJson]:
        """The pictures that changed in some ways, as they are in one of the two versions."""
        for change in sorted(self._diff.data.files, key=lambda file: file.path):
            output = self._output_of(change.path)
            if change.kind not in kinds or not change.is_image or output is None:
                continue
            name = change.path.removeprefix(output.path).lstrip("/")
            place = self._place(output.path)
            if place is None or place.role != self._role:
                continue
            md5 = self._files_in(output.after if is_after else output.before).get(name, "")
            yield {
                "md5": md5,
                "collection": self._member_of(output.path),
                "path": name or change.path,
                "from": self._class_of(change.before or ("" if is_after else change.path)),
                "to": self._class_of(change.path if is_after else ""),
                "stage": change.stage or "",
                "here": self._reading.listings.place_of(md5) is not None,
            }

    def _output_of(self, path: str) -> OutputChange | None:
        """The output that a file is in."""
        above = (path, *folders_above(path))
        return next((self._outputs[folder] for folder in above if folder in self._outputs), None)

    def _place(self, output: str) -> FamilyPlace | None:
        """The place of the family of an output."""
        places = self._diff.data.places
        if output in places:
            return places[output]
        parts = output.split("/")
        without_one = ("/".join((*parts[:n], *parts[n + 1 :])) for n in range(len(parts)))
        return next((places[family] for family in without_one if family in places), None)

    def _member_of(self, output: str) -> str:
        node = self._reading.lineage.nodes.get(output)
        return (node.partition if node is not None else None) or PurePosixPath(output).name

    def _class_of(self, path: str) -> str:
        output = self._output_of(path) if path else None
        place = self._place(output.path) if output is not None else None
        return class_name(place.family) if place is not None else ""

    def _read_files(self, version: Version | None) -> Mapping[str, str]:
        if version is None:
            return {}
        if not is_folder(version.md5):
            return {"": version.md5}
        return self._reading.listings.read(version.md5) or {}
