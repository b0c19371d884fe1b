"""Photographs of any number and size, each with contents of its own.

They are derived from the sample photographs (`samples/CREDITS.md` says whose): a random part of
one, scaled to the size asked for, mirrored or not, dimmed, brightened or fogged, with the noise of
a sensor on top. Nineteen of twenty are JPEG of quality 80 to 95, the twentieth is PNG. So they
compress and decode as photographs do, some of each class come out, and some are too dark or too
bright. The same number and seed give the same picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

_PER_FOLDER = 1000
_CHUNK = 100
# What a photograph is multiplied with, and what is added: night, dusk, day, bright, fog, black.
_LIGHTS = ((0.35, 0), (0.6, 0), (1.0, 0), (1.25, 10), (0.12, 120), (0.05, 0))


def build_photographs(
    folder: Path, count: int, size: tuple[int, int] = (640, 480), *, start: int = 0
) -> None:
    """Writes photographs, a thousand to a sub-folder.

    Args:
        folder: Where to; other files in it stay.
        count: How many.
        size: Width and height, in pixels.
        start: The number of the first one.
    """
    numbers = range(start, start + count)
    for number in range(start // _PER_FOLDER, (start + count - 1) // _PER_FOLDER + 1):
        (folder / f"{number:03}").mkdir(parents=True, exist_ok=True)
    chunks = [numbers[at : at + _CHUNK] for at in range(0, count, _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(_write, [folder] * len(chunks), chunks, [size] * len(chunks)):
            pass


def _write(folder: Path, numbers: Sequence[int], size: tuple[int, int]) -> None:
    for number in numbers:
        suffix = "png" if number % 20 == 19 else "jpg"
        path = folder / f"{number // _PER_FOLDER:03}" / f"{number:06}.{suffix}"
        random = np.random.default_rng(number)
        image = _photograph(random, size)
        if suffix == "png":
            image.save(path, compress_level=3)
        else:
            image.save(path, quality=int(random.integers(80, 96)))


def _photograph(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    scenes = _scenes()
    scene = scenes[random.integers(len(scenes))]
    share = random.uniform(0.5, 1.0)
    width, height = (int(side * share) for side in scene.size)
    left = int(random.integers(scene.width - width + 1))
    top = int(random.integers(scene.height - height + 1))
    box = (left, top, left + width, top + height)
    image = scene.resize(size, Image.Resampling.BILINEAR, box=box)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factor, added = _LIGHTS[random.integers(len(_LIGHTS))]
    factor *= random.uniform(0.9, 1.1)
    pixels = np.multiply(np.asarray(image), np.float32(factor)).astype(np.int16)
    pixels += np.int16(added) + _noise(random, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def _scenes() -> list[Image.Image]:
    # The night sky is nothing but stars, and those that are broken on purpose are no photographs.
    found = []
    for path in sorted(SAMPLES.glob("*/**/[!.]*.jpg")):
        try:
            with Image.open(path) as image:
                found.append(image.convert("RGB"))
        except OSError:
            continue
    return found


@cache
def _grain() -> NDArray[np.int16]:
    grain = np.random.default_rng(0).normal(0, 2.5, (2048, 2048))
    return np.rint(grain).astype(np.int16)


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """A part of one large field of noise, as drawing it anew takes longer than all the rest."""
    grain = _grain()
    height, width, _ = shape
    top, left = random.integers(2048 - height), random.integers(2048 - width)
    part = grain[top : top + height, left : left + width]
    return np.stack([part, np.roll(part, 7, 0), np.roll(part, 7, 1)], axis=2)
