"""Listings of folders: written as DVC writes them, read once, and noticed when they change."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def keep(cache: Path, text: bytes) -> str:
    """Puts a listing into a cache; returns its version."""
    version = hash_listing(text)
    (cache / version[:2]).mkdir()
    (cache / version[:2] / version[2:]).write_bytes(text)
    return version


@pytest.fixture
def version(tmp_path: Path) -> str:
    """The listing of `_FILES` in a cache at `tmp_path`."""
    return keep(tmp_path, build_listing(_FILES.items()))


_ENTRY = {"md5": "5" * 32, "relpath": "a.jpg"}
_LOOKS_LIKE_ONE = '"}, {"md5": "' + "6" * 32 + '", "relpath": "b.jpg'


@pytest.mark.parametrize(
    "text",
    [
        build_listing([]),
        build_listing([("a.jpg", "5" * 32)]),
        build_listing((f"{number}/~!#[].jpg", "5" * 32) for number in range(100)),
        build_listing([("a.jpg", "5" * 32), ("Ü.jpg", "6" * 32)]),
        build_listing([(_LOOKS_LIKE_ONE, "5" * 32)]),
        json.dumps([_ENTRY], indent=1).encode(),
        json.dumps([{**_ENTRY, "size": 3}]).encode(),
        json.dumps([dict(reversed(_ENTRY.items()))]).encode(),
        build_listing([("Ü.jpg", "5" * 32)]).replace(b"\\u00dc", "Ü".encode()),
    ],
)
def test_names_and_md5s_alone_are_those_of_the_listing(tmp_path: Path, text: bytes) -> None:
    listings, version = Listings([tmp_path]), keep(tmp_path, text)
    files = listings.read(version)
    assert isinstance(files, Mapping)
    assert set(listings.read_names(version) or ()) == files.keys()
    assert (listings.read_md5s(version) or b"").hex() == "".join(files.values())


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "b/../../a.jpg", "a//b", ""])
def test_a_listing_that_leads_out_of_its_folder_has_no_names(tmp_path: Path, name: str) -> None:
    version = keep(tmp_path, build_listing([("b.jpg", "5" * 32), (name, "5" * 32)]))
    assert Listings([tmp_path]).read_names(version) is None
    assert Listings([tmp_path]).read_names("7" * 32 + ".dir") is None


@pytest.mark.parametrize("byte", [b"\xff", b"\n", b"\0"])
def test_a_listing_that_is_no_json_has_no_names(tmp_path: Path, byte: bytes) -> None:
    version = keep(tmp_path, build_listing([("x.jpg", "5" * 32)]).replace(b"x", byte))
    assert Listings([tmp_path]).read(version) is None
    assert Listings([tmp_path]).read_names(version) is None


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
