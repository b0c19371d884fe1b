"""Which files are archives, by their names alone."""

from __future__ import annotations

from collections.abc import Sequence

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
UNREADABLE_ENDINGS = (
    *(".7z", ".ace", ".arj", ".cab", ".dmg", ".iso", ".lha", ".lzh", ".rar", ".sit", ".sitx"),
    *(".tar.lz", ".tar.lz4", ".tar.lzma", ".tar.z", ".tar.zst", ".tlz", ".tzst", ".zipx"),
    *(".7z.001", ".r00", ".z01", ".zip.001"),
)
"""Of archives, their parts and disk images, to be unpacked with a program of somebody's own."""


def archive_stem(file_name: str) -> str | None:
    """The name of a file without the ending of an archive; None when it has no such ending."""
    return _without_ending(file_name, ENDINGS)


def unreadable_stem(file_name: str) -> str | None:
    """The same of an archive that cannot be unpacked here."""
    return _without_ending(file_name, UNREADABLE_ENDINGS)


def why_unreadable(file_name: str) -> str | None:
    """Why an archive of a kind that cannot be read here is refused; None of any other file."""
    stem = unreadable_stem(file_name)
    if stem is None:
        return None
    return (
        f"archives of this kind ({file_name[len(stem) :]}) cannot be read here: unpack it "
        f"yourself, into a folder {stem}"
    )


def _without_ending(file_name: str, endings: Sequence[str]) -> str | None:
    name = file_name.lower()
    found = [len(ending) for ending in endings if name.endswith(ending) and name != ending]
    return file_name[: -max(found)] if found else None
