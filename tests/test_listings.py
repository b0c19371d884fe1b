"""Listings of folders: written as DVC writes them, read once, and noticed when they change."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from registry_assets.dvc_repo.listings import Listings, build_listing, hash_listing

_FILES = {
    "plain.jpg": "0" * 32,
    'with "quotes" and \\.jpg': "1" * 32,
    "sub folder/Ünicode 山.jpg": "2" * 32,
    "line\nbreak\x7f\u2028.jpg": "3" * 32,
    "beyond the basic plane \U0001f4f7.jpg": "4" * 32,
}


def test_a_listing_is_written_as_dvc_writes_it() -> None:
    tree = Tree()
    for name, md5 in _FILES.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    assert build_listing(_FILES.items()) == tree.as_bytes()
    assert hash_listing(build_listing(_FILES.items())) == tree.hash_info.value
    assert build_listing([]) == Tree().as_bytes()


@pytest.fixture
def version(tmp_path: Path) -> str:
    """The listing of `_FILES` in a cache at `tmp_path`."""
    text = build_listing(_FILES.items())
    version = hash_listing(text)
    (tmp_path / version[:2]).mkdir()
    (tmp_path / version[:2] / version[2:]).write_bytes(text)
    return version


def test_a_listing_that_was_read_is_not_parsed_again(tmp_path: Path, version: str) -> None:
    found = Listings([tmp_path]).read(version)
    assert found == _FILES
    assert Listings([tmp_path / "other", tmp_path]).read(version) is found


def test_a_listing_that_is_damaged_or_removed_after_it_was_read_is_missing(
    tmp_path: Path, version: str
) -> None:
    listings, place = Listings([tmp_path]), tmp_path / version[:2] / version[2:]
    intact = place.read_bytes()
    assert listings.read(version) == _FILES
    place.write_bytes(intact[:-1])
    assert listings.read(version) is None
    place.write_bytes(intact)
    assert listings.read(version) == _FILES
    place.unlink()
    assert listings.read(version) is None
