"""Versions of data sets as text, as JSON and as tag messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from registry_assets.git_repo.committing import fold_trailers
from registry_assets.revisions.changes.report import class_name
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.revisions.versions.dataset_versions import DatasetVersion, Held
from registry_assets.revisions.versions.diff_report import DiffJson, describe_changes, diff_as_json
from registry_assets.revisions.versions.tagging import NewVersion
from registry_assets.units import count_of

_TRAILER = "Registry-Dataset"


class DatasetVersionJson(TypedDict):
    """A version of a data set.

    Attributes:
        version: The tag.
        commit: The commit.
        date: When the tag was made.
        message: The message of the tag.
        contents: The contents by family, inputs first.
        since: The changes since the previous version; null for the first one.
    """

    version: str
    commit: str
    date: str
    message: str
    contents: tuple[Held, ...]
    since: DiffJson | None


def describe_versions(versions: Sequence[DatasetVersion]) -> Iterator[str]:
    """Describe versions, the newest first."""
    for version in reversed(versions):
        tag = version.tag
        subject = tag.message.partition("\n")[0]
        yield f"{tag.name}  {tag.date[:10]}  {tag.commit[:SHORT_COMMIT]}  {subject}".rstrip()
        yield from (f"    {line}" for line in describe_contents(version.contents))
        if version.since.before.commit is not None:
            yield f"    since {version.since.before.name}:"
            lines = list(describe_changes(version.since)) or ["no data differs"]
            yield from (f"      {line}" for line in lines)


def describe_contents(contents: Sequence[Held]) -> Iterator[str]:
    """A line for each family."""
    for held in contents:
        if held.images is None:
            yield f"{class_name(held.family)}: unknown, because a listing is missing"
            continue
        said = [count_of(held.members, "collection")] if held.is_input else []
        if held.images or not held.others:
            said.append(count_of(held.images, "image"))
        if held.others:
            said.append(count_of(held.others, "other file" if held.images else "file"))
        yield f"{class_name(held.family)}: {', '.join(said)}"


def tag_message(version: NewVersion, subject: str | None) -> str:
    """The message of a tag: subject, contents, and changes since the previous version."""
    images = sum(held.images or 0 for held in version.contents if not held.is_input)
    paragraphs = [
        subject or f"{version.name}: {count_of(images, 'image')}",
        "\n".join(describe_contents(version.contents)),
    ]
    if version.since is not None:
        lines = list(describe_changes(version.since)) or ["no data differs"]
        paragraphs.append("\n".join([f"Since {version.since.before.name}:", *lines]))
    paragraphs.append(fold_trailers([(_TRAILER, version.dataset.path)]))
    return "\n\n".join(text.rstrip() for text in paragraphs) + "\n"


def versions_as_json(versions: Sequence[DatasetVersion]) -> list[DatasetVersionJson]:
    """The JSON of `registry versions --json`, the oldest first."""
    return [
        {
            "version": version.tag.name,
            "commit": version.tag.commit,
            "date": version.tag.date,
            "message": version.tag.message,
            "contents": version.contents,
            "since": diff_as_json(version.since, files=False)
            if version.since.before.commit
            else None,
        }
        for version in versions
    ]
