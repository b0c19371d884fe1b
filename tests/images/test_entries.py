"""What lies in a collection: every file once, sorted, with a reason where it must not be opened."""

import os
import socket
from pathlib import Path

import pytest

from registry_assets.images.contents import SET_ASIDE_PREFIX
from registry_assets.images.entries import find_entries, is_video

from .drawing import save


def reasons(folder: Path) -> dict[str, str]:
    return {entry.path: entry.reason for entry in find_entries(folder)}


def test_every_file_is_found_once_and_sorted_by_its_whole_path(tmp_path: Path) -> None:
    names = ["a/z.jpg", "a-b/c.jpg", "a.jpg", "B.jpg", "a/b/c.jpg", "ä.jpg", "a0/d.jpg"]
    for name in names:
        save(tmp_path / name)
    assert [entry.path for entry in find_entries(tmp_path)] == sorted(names)


def test_hidden_files_and_files_in_hidden_folders_are_not_opened(tmp_path: Path) -> None:
    for name in [".a.jpg", ".git/b.jpg", "x/.y/z/c.jpg", "d.jpg"]:
        save(tmp_path / name)
    hidden = "hidden file"
    assert reasons(tmp_path) == {
        ".a.jpg": hidden,
        ".git/b.jpg": hidden,
        "d.jpg": "",
        "x/.y/z/c.jpg": hidden,
    }


def test_a_hidden_folder_above_the_collection_hides_nothing(tmp_path: Path) -> None:
    save(tmp_path / ".home" / "collection" / "a.jpg")
    assert reasons(tmp_path / ".home" / "collection") == {"a.jpg": ""}


def test_links_are_followed_inside_the_collection_only(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    save(collection / "a" / "real.jpg")
    save(tmp_path / "outside" / "photo.jpg")
    save(tmp_path / "collection-2" / "photo.jpg")
    (collection / "inside.jpg").symlink_to("a/real.jpg")
    (collection / "outside.jpg").symlink_to(tmp_path / "outside" / "photo.jpg")
    (collection / "sibling.jpg").symlink_to(tmp_path / "collection-2" / "photo.jpg")
    (collection / "broken.jpg").symlink_to("nothing.jpg")
    (collection / "self.jpg").symlink_to("self.jpg")
    (collection / "folder").symlink_to(tmp_path / "outside")
    (collection / "a" / "loop").symlink_to(collection)
    found = reasons(collection)
    assert found.pop("self.jpg") != ""
    outside = "symbolic link that leads outside the collection"
    assert found == {
        "a/loop": "symbolic link to a folder",
        "a/real.jpg": "",
        "broken.jpg": "broken symbolic link",
        "folder": "symbolic link to a folder",
        "inside.jpg": "",
        "outside.jpg": outside,
        "sibling.jpg": outside,
    }


def test_links_into_a_dvc_cache_are_the_collections_own_files(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    collection.mkdir()
    cached = tmp_path / "cache" / "files" / "md5" / "0a" / ("b" * 30)
    save(cached, format="PNG")
    (collection / "a.png").symlink_to(cached)
    not_named_by_md5 = cached.with_name("photo.png")
    save(not_named_by_md5)
    (collection / "b.png").symlink_to(not_named_by_md5)
    found = reasons(collection)
    assert found["a.png"] == ""
    assert found["b.png"] == "symbolic link that leads outside the collection"
    assert next(find_entries(collection)).location == str(cached)


def test_a_collection_that_is_itself_behind_a_link_is_no_different(tmp_path: Path) -> None:
    save(tmp_path / "real" / "a.jpg")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "b.jpg").symlink_to("a.jpg")
    assert reasons(tmp_path / "link") == {"a.jpg": "", "b.jpg": ""}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_special_files_are_named_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind("socket.jpg")
        assert reasons(tmp_path) == {
            "pipe.jpg": "not a file: a named pipe",
            "socket.jpg": "not a file: a socket",
        }


def test_a_note_left_in_the_place_of_something_gives_its_reason(tmp_path: Path) -> None:
    for name in ["pipe.jpg", "clip.mp4", ".hidden"]:
        (tmp_path / name).write_bytes(SET_ASIDE_PREFIX + b"a named pipe, \xc3\xa4\nmore\n")
    assert set(reasons(tmp_path).values()) == {"a named pipe, ä"}


def test_a_long_text_that_begins_like_a_note_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(SET_ASIDE_PREFIX + b"x" * 1024)
    assert reasons(tmp_path) == {"a.txt": ""}


def test_a_folder_that_cannot_be_listed_is_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.jpg")
    save(tmp_path / "locked" / "b.jpg")
    listed = os.scandir

    def scandir(path: str) -> object:
        # Permissions do not hold back root, which tests run as in containers.
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert reasons(tmp_path) == {"a.jpg": "", "locked": "unreadable: Permission denied"}


def test_a_collection_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(find_entries(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mp4", True), ("b/C.MOV", True), ("a.mp4.jpg", False), ("mp4", False), ("a.gif", False)],
)
def test_videos_are_told_by_their_suffix(name: str, expected: bool) -> None:
    assert is_video(name) is expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("DCIM/100GOPRO/GX010001.THM", "thumbnail of a camera"),
        ("PRIVATE/M4ROOT/THMBNL/C0001T01.JPG", "thumbnail of a camera"),
        ("XDROOT/Thmbnl/A001T01.JPG", "thumbnail of a camera"),
        ("MISC/THM/100/DJI_0001.SCR", "thumbnail of a camera"),
        ("CONTENTS/ICON/0001AB.BMP", "thumbnail of a camera"),
        ("DCIM/100GOPRO/GL010001.LRV", "preview video of a camera"),
        ("PRIVATE/M4ROOT/SUB/C0001S03.MP4", "preview video of a camera"),
        ("@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "left by a file manager or NAS"),
        ("$RECYCLE.BIN/S-1-5-21/$RABCDEF.jpg", "left by a file manager or NAS"),
        ("._a.jpg", "hidden file"),
        ("PRIVATE/M4ROOT/CLIP/C0001.MP4", ""),
        ("SUB/a.jpg", ""),
        ("thm/a.jpg", ""),
        ("misc/a.jpg", ""),
    ],
)
def test_what_a_camera_or_a_nas_made_besides_is_no_picture(
    tmp_path: Path, path: str, reason: str
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"x")
    assert reasons(tmp_path) == {path: reason}
