"""Which files are archives, by name."""

from __future__ import annotations

from collections.abc import Sequence

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
UNREADABLE_ENDINGS = (
    *(".7z", ".ace", ".arj", ".cab", ".dmg", ".iso", ".lha", ".lzh", ".rar", ".sit", ".sitx"),
    *(".tar.lz", ".tar.lz4", ".tar.lzma", ".tar.z", ".tar.zst", ".tlz", ".tzst", ".zipx"),
    *(".7z.001", ".r00", ".z01", ".zip.001"),
)
"""Archives, parts of archives and disk images that users have to unpack themselves."""


def archive_stem(file_name: str) -> str | None:
    """The file name without its archive suffix; None when it has none."""
    return _without_ending(file_name, ENDINGS)


def unreadable_stem(file_name: str) -> str | None:
    """The file name without the suffix of an unsupported archive; None when it has none."""
    return _without_ending(file_name, UNREADABLE_ENDINGS)


def why_unreadable(file_name: str) -> str | None:
    """Why an unsupported archive is rejected; None for any other file."""
    stem = unreadable_stem(file_name)
    if stem is None:
        return None
    return (
        f"{file_name[len(stem) :]} archives are not supported: unpack it yourself into a folder "
        f"{stem}"
    )


def _without_ending(file_name: str, endings: Sequence[str]) -> str | None:
    name = file_name.lower()
    found = [len(ending) for ending in endings if name.endswith(ending) and name != ending]
    return file_name[: -max(found)] if found else None
