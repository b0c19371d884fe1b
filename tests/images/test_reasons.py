"""What reasons mean, of all that a table of measurements can hold."""

import pytest

from registry_assets.images.reasons import is_of_video, kind_of, meaning_of
from registry_assets.images.verdicts import BRIGHT, DARK
from registry_assets.images.workers import CRASHED, TOO_LARGE, TOO_LONG
from registry_assets.leftovers import REASON as LEFTOVER

REASONS = {
    "corrupt: premature end of data segment": "corrupt",
    "empty file": "empty file",
    "hidden file": "hidden file",
    "not an image": "not an image",
    "not supported: camera raw, read with pip install 'registry-assets[raw]'": "not supported",
    "not a file: a named pipe": "not a file",
    "not a regular file": "not a regular file",
    "unreadable: Permission denied": "unreadable",
    "broken symbolic link": "broken symbolic link",
    "symbolic link to a folder": "symbolic link to a folder",
    "thumbnail of a camera": "thumbnail of a camera",
    "preview video of a camera": "preview video of a camera",
    "video: 4 frames extracted": "video",
    "video cannot be opened: 0 frames extracted": "video",
    CRASHED: CRASHED,
    TOO_LONG: TOO_LONG,
    TOO_LARGE: "too large",
    LEFTOVER: LEFTOVER,
    DARK.met: DARK.met,
    BRIGHT.met: BRIGHT.met,
    "denied": "denied",
    "duplicate": "duplicate",
}


@pytest.mark.parametrize(("reason", "kind"), REASONS.items())
def test_every_reason_has_a_kind_and_a_meaning(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
    assert meaning_of(reason)


def test_a_reason_of_somebody_elses_has_no_meaning() -> None:
    assert (kind_of("set aside: a pipe"), meaning_of("set aside: a pipe")) == ("set aside", "")
    assert meaning_of("") == ""


def test_only_videos_of_which_frames_are_extracted_count_as_videos() -> None:
    assert is_of_video("video: 1 frame extracted")
    assert not is_of_video("preview video of a camera")
