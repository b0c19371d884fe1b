import os
from pathlib import Path

import pytest

from registry_assets.images import link_file


def test_a_linked_file_is_the_same_file_under_a_second_name(tmp_path: Path) -> None:
    source = tmp_path / "source.jpg"
    source.write_bytes(b"pixels")
    link_file(source, tmp_path / "out" / "folder" / "target.jpg")
    assert (tmp_path / "out/folder/target.jpg").samefile(source)


def test_where_links_are_not_possible_a_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source.jpg"
    source.write_bytes(b"pixels")
    source.chmod(0o444)
    link_file(source, tmp_path / "target.jpg")
    assert (tmp_path / "target.jpg").read_bytes() == b"pixels"
    assert not (tmp_path / "target.jpg").samefile(source)


def test_what_a_symbolic_link_points_to_is_linked(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"pixels")
    (tmp_path / "link.jpg").symlink_to("object")
    link_file(tmp_path / "link.jpg", tmp_path / "target.jpg")
    assert not (tmp_path / "target.jpg").is_symlink()
    assert (tmp_path / "target.jpg").samefile(tmp_path / "object")


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        link_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"b"


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_file(tmp_path / "nothing", tmp_path / "out" / "target")
    assert not (tmp_path / "out").exists()
