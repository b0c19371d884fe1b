"""Images and videos: decoding, measuring, judging and showing them.

Functions take paths, bytes or arrays and return plain values that can be pickled. Nothing here
knows Dagster or DVC.
"""

from registry_assets.images.contact_sheets import build_contact_sheet
from registry_assets.images.decoding import (
    SET_ASIDE_PREFIX,
    DecodedImage,
    Unreadable,
    decode_image,
    has_image_suffix,
)
from registry_assets.images.frames import (
    ExtractedVideo,
    extract_frames,
    extract_video,
    read_videos,
)
from registry_assets.images.likeness import find_alike
from registry_assets.images.linking import link_file
from registry_assets.images.measurements import (
    Measurement,
    measure_collection,
    measure_file,
    read_measurements,
    write_measurements,
)
from registry_assets.images.verdicts import (
    IMAGE_CLASSES,
    BrightnessRange,
    ClassThresholds,
    ImageClass,
    classify,
    removal_reason,
)

__all__ = [
    "IMAGE_CLASSES",
    "SET_ASIDE_PREFIX",
    "BrightnessRange",
    "ClassThresholds",
    "DecodedImage",
    "ExtractedVideo",
    "ImageClass",
    "Measurement",
    "Unreadable",
    "build_contact_sheet",
    "classify",
    "decode_image",
    "extract_frames",
    "extract_video",
    "find_alike",
    "has_image_suffix",
    "link_file",
    "measure_collection",
    "measure_file",
    "read_measurements",
    "read_videos",
    "removal_reason",
    "write_measurements",
]
