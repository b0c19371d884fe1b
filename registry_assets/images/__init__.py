"""Images and videos: decoding, measuring, judging and showing them.

Functions take paths, bytes or arrays and return plain values that can be pickled. Nothing here
depends on Dagster or DVC.

The public names are loaded on first use: a stage that only links files needs no decoders.

Files and decoders:

entries.py            the files of a collection, sorted
contents.py           reading the bytes of a file that may be an image
decoding.py           bytes -> an 8-bit RGB image, or the reason why there is none
jpeg_decoding.py      decoding JPEG so that damage is detected
bare_pictures.py      reducing a file to its first picture, to locate damage
tiff_directories.py   the tags of a TIFF, read before decoding, and those of EXIF
camera_raw.py         camera raw, developed by LibRaw
exif.py               when, where and with what a photograph was taken
workers.py            mapping a function over files in worker processes
worker_process.py     a worker process and its limits

Measures and verdicts:

measures.py           arrays -> numbers
file_measuring.py     measuring a file
measuring.py          measuring a collection
measurements.py       the table of measurements of a collection
memo.py               a cache of measures by content
measurement_columns.py  the tables of many collections as columns
verdicts.py           a measurement and thresholds -> kept or removed, and the class
judging.py            columns and thresholds -> the verdicts on all images
reasons.py            what the reasons mean for which files are left out
pillow_formats.py     which formats Pillow reads without plugins
algorithms.py         the versions of the algorithms
likeness.py           finding pictures that look alike
tables.py             reading and writing CSV files
linking.py            hard-linking files, or copying them
contact_sheets.py     contact sheets of images
shrinking.py          thumbnails and previews of images

Videos:

frames.py             the videos of a collection -> frames, and a table
video_decoding.py     a video -> frames
video_tags.py         when, where and with what a video was taken
videos.py             the tables of videos and frames

Decisions:

decisions.py          people's decisions about single images
decision_text.py      editing the text of a file of decisions
initial_decisions.py  the decisions that a new collection starts with
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_assets.images.algorithms import check_algorithm
    from registry_assets.images.contact_sheets import build_contact_sheet
    from registry_assets.images.contents import SET_ASIDE_PREFIX, Unreadable, has_image_suffix
    from registry_assets.images.decisions import Decision, read_decisions
    from registry_assets.images.decoding import DecodedImage, decode_image
    from registry_assets.images.exif import Exif, describe_tags, read_exif
    from registry_assets.images.file_measuring import measure_file
    from registry_assets.images.frames import extract_frames
    from registry_assets.images.initial_decisions import leave_out_duplicates, open_decisions
    from registry_assets.images.likeness import find_alike
    from registry_assets.images.linking import link_file
    from registry_assets.images.measurements import (
        Measurement,
        read_measurements,
        write_measurements,
    )
    from registry_assets.images.measuring import measure_collection
    from registry_assets.images.memo import Memo
    from registry_assets.images.verdicts import (
        IMAGE_CLASSES,
        BrightnessRange,
        ClassThresholds,
        ImageClass,
        classify,
        removal_reason,
    )
    from registry_assets.images.video_decoding import extract_video
    from registry_assets.images.videos import ExtractedVideo, read_videos

_PLACES = {
    "IMAGE_CLASSES": "verdicts",
    "SET_ASIDE_PREFIX": "contents",
    "BrightnessRange": "verdicts",
    "ClassThresholds": "verdicts",
    "Decision": "decisions",
    "DecodedImage": "decoding",
    "Exif": "exif",
    "ExtractedVideo": "videos",
    "ImageClass": "verdicts",
    "Measurement": "measurements",
    "Memo": "memo",
    "Unreadable": "contents",
    "build_contact_sheet": "contact_sheets",
    "check_algorithm": "algorithms",
    "classify": "verdicts",
    "decode_image": "decoding",
    "describe_tags": "exif",
    "extract_frames": "frames",
    "extract_video": "video_decoding",
    "find_alike": "likeness",
    "has_image_suffix": "contents",
    "leave_out_duplicates": "initial_decisions",
    "link_file": "linking",
    "measure_collection": "measuring",
    "measure_file": "file_measuring",
    "open_decisions": "initial_decisions",
    "read_decisions": "decisions",
    "read_exif": "exif",
    "read_measurements": "measurements",
    "read_videos": "videos",
    "removal_reason": "verdicts",
    "write_measurements": "measurements",
}

__all__ = [
    "IMAGE_CLASSES",
    "SET_ASIDE_PREFIX",
    "BrightnessRange",
    "ClassThresholds",
    "Decision",
    "DecodedImage",
    "Exif",
    "ExtractedVideo",
    "ImageClass",
    "Measurement",
    "Memo",
    "Unreadable",
    "build_contact_sheet",
    "check_algorithm",
    "classify",
    "decode_image",
    "describe_tags",
    "extract_frames",
    "extract_video",
    "find_alike",
    "has_image_suffix",
    "leave_out_duplicates",
    "link_file",
    "measure_collection",
    "measure_file",
    "open_decisions",
    "read_decisions",
    "read_exif",
    "read_measurements",
    "read_videos",
    "removal_reason",
    "write_measurements",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
