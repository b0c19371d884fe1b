"""The reasons for which files are left out, in the words of somebody who wants to mend them."""

from __future__ import annotations

from registry_assets.leftovers import REASON as LEFTOVER_REASON

_MEANINGS = (
    ("corrupt", "the file is damaged or cut short: copy it again from the camera or a backup"),
    ("empty file", "the file has no bytes: copy it again from the camera or a backup"),
    ("not an image", "its name is not that of a picture and no decoder recognises it"),
    ("not supported", "this machine lacks the decoder for this format"),
    (
        "too large",
        "it has more pixels or bytes than are decoded: raise max_megapixels in params.yaml, or "
        "scale it down",
    ),
    ("unreadable", "the operating system refused to read it: check permissions and the disk"),
    ("decoder crashed", "the file crashes its decoder: save it anew with another program"),
    ("takes too long to decode", "its decoder did not finish: save it anew with another program"),
    ("hidden file", "its name, or that of a folder above it, begins with a dot"),
    ("thumbnail of a camera", "the camera wrote it beside a video: it is no photograph"),
    ("preview video of a camera", "a small copy of a video, which is in the collection itself"),
    ("broken symbolic link", "it leads to a file that is not there: put the file itself there"),
    ("symbolic link", "it leads elsewhere: put the file itself there"),
    ("not a regular file", "only files have pictures"),
    ("not a file", "only files have pictures"),
    (LEFTOVER_REASON, "no part of the collection"),
    ("video", "its frames are the pictures of the data set"),
    ("too dark", "the picture is almost black"),
    ("too bright", "the picture is almost white"),
    ("denied", "somebody left it out"),
    ("duplicate", "the data set has the same picture, or one like it, elsewhere"),
)


def kind_of(reason: str) -> str:
    """Return what stands before the colon: "corrupt" for "corrupt: no end of data".

    All reasons of videos are one kind.
    """
    kind = reason.partition(":")[0]
    return "video" if is_of_video(reason) else kind


def is_of_video(reason: str) -> bool:
    """Return whether it is the reason of a video, of which frames are extracted."""
    return reason == "video" or reason.startswith(("video:", "video "))


def meaning_of(reason: str) -> str:
    """Return what a reason means and what helps; empty for one that nobody knows."""
    return next((text for start, text in _MEANINGS if kind_of(reason).startswith(start)), "")
