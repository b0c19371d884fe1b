"""Which pictures look alike, by two measures that have to agree.

The perceptual hash finds candidates quickly. By itself it pairs pictures that have nothing in
common: 64 bits that say where it gets brighter to the right are soon the same for two skies above
two horizons. So the thumbnails, 8 x 8 grey levels, have to be the same picture, too: their root
mean square difference is at most an eighth of the contrast of each. Pictures that were resized or
compressed again are alike then, those that were made brighter, or cropped by more than a few
hundredths, are not. Compression can change a picture with next to no contrast by more than that.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_DIFFERENCE = 1 / 8
"""How much of their contrast (standard deviation) the thumbnails of alike pictures may differ."""

_BITS = 64
_PAIRS_AT_ONCE = 1 << 22
_COUNTS = np.array([bin(number).count("1") for number in range(256)], np.uint8)
_NO_THUMBNAIL = "0" * 128

_Positions = NDArray[np.intp]


def find_alike(
    hashes: Sequence[str],
    sets: Sequence[int],
    distance: int,
    *,
    thumbnails: Sequence[str] | None = None,
    asked: Collection[int] | None = None,
    nearest_before: bool = False,
) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of pictures of different sets, and in how many bits their hashes differ.

    A hash without any bit is that of a plain surface, which says nothing, and is left out.

    Args:
        hashes: As `perceptual_hash` gives them.
        sets: Which set each picture is of.
        distance: In how many of the 64 bits two may differ.
        thumbnails: As `thumbnail` gives them, to agree with the hashes. A picture that has none is
            like nothing. Without any the hashes alone decide.
        asked: Of which sets one of the two has to be; of any when None.
        nearest_before: Yield for each picture no more than the nearest of those before it.

    Returns:
        Positions in `hashes`, the smaller one first, each pair once.

    Raises:
        ValueError: If the distance is not in 0 to 64.
    """
    if not 0 <= distance <= _BITS:
        raise ValueError(f"the distance of two hashes is 0 to {_BITS}, not {distance}")
    values = np.array([int(text or "0", 16) for text in hashes], np.uint64)
    of_set = np.array(sets, np.int64)
    is_asked = np.ones(len(values), bool) if asked is None else np.isin(of_set, list(asked))
    levels, contrast = _parse_thumbnails(thumbnails)
    told = values != 0
    if thumbnails is not None:
        told &= contrast > 0
    nearest: dict[int, tuple[int, int]] = {}
    for ones, others, differing in _candidates(
        np.flatnonzero(told), values, of_set, is_asked, distance
    ):
        if thumbnails is not None:
            agree = _agree(levels, contrast, ones, others)
            ones, others, differing = ones[agree], others[agree], differing[agree]
        if nearest_before:
            order = np.lexsort((ones, differing, others))
            first = order[np.flatnonzero(np.diff(others[order], prepend=-1))]
            ones, others, differing = ones[first], others[first], differing[first]
        for one, other, bits in zip(
            ones.tolist(), others.tolist(), differing.tolist(), strict=True
        ):
            if nearest_before:
                nearest[other] = min(nearest.get(other, (bits, one)), (bits, one))
            else:
                yield one, other, bits
    for other, (bits, one) in sorted(nearest.items()):
        yield one, other, bits


def _parse_thumbnails(
    thumbnails: Sequence[str] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the grey levels of each picture, and its contrast."""
    data = bytes.fromhex("".join(text or _NO_THUMBNAIL for text in thumbnails or ()))
    levels = np.frombuffer(data, np.uint8).reshape(-1, 64).astype(np.float32)
    return levels, levels.std(axis=1)


def _agree(
    levels: NDArray[np.float32],
    contrast: NDArray[np.float32],
    ones: _Positions,
    others: _Positions,
) -> NDArray[np.bool_]:
    agree = np.empty(len(ones), bool)
    most = MOST_DIFFERENCE * np.minimum(contrast[ones], contrast[others])
    rows = _PAIRS_AT_ONCE // 64
    for start in range(0, len(ones), rows):
        part = slice(start, start + rows)
        difference = levels[ones[part]] - levels[others[part]]
        agree[part] = np.sqrt(np.square(difference).mean(axis=1)) <= most[part]
    return agree


def _candidates(
    told: _Positions,
    values: NDArray[np.uint64],
    of_set: NDArray[np.int64],
    is_asked: NDArray[np.bool_],
    distance: int,
) -> Iterator[tuple[_Positions, _Positions, NDArray[np.uint8]]]:
    """Yield pairs within the distance, each once: the smaller positions, the others, the bits."""
    # Cut into more bands than bits may differ, two values have a band in common.
    bands = next((count for count in (4, 8) if count > distance), 1)
    groups = [_equal_in_band(values[told], bands, band) for band in range(bands)]
    if sum(len(group) ** 2 for found in groups for group in found) >= len(told) ** 2:
        # Most are much the same, as the pictures of a camera that stands still.
        bands, groups = 1, [[np.arange(len(told))]]
    for band, found in enumerate(groups):
        for group in found:
            yield from _pairs(told[group], values, of_set, is_asked, distance, (bands, band))


def _equal_in_band(values: NDArray[np.uint64], bands: int, band: int) -> list[_Positions]:
    """Return groups of values that are the same in one part of their bits."""
    if bands == 1:
        return [np.arange(len(values))]
    width = _BITS // bands
    of_band = (values >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
    order = np.argsort(of_band, kind="stable")
    borders = np.flatnonzero(np.diff(of_band[order])) + 1
    return [group for group in np.split(order, borders) if len(group) > 1]


def _pairs(
    positions: _Positions,
    values: NDArray[np.uint64],
    of_set: NDArray[np.int64],
    is_asked: NDArray[np.bool_],
    distance: int,
    part: tuple[int, int],
) -> Iterator[tuple[_Positions, _Positions, NDArray[np.uint8]]]:
    """Compare those that were asked about with all, some rows at a time."""
    if not len(positions) or not np.ptp(of_set[positions]):
        return
    asked = positions[is_asked[positions]]
    rows = max(1, _PAIRS_AT_ONCE // len(positions))
    for start in range(0, len(asked), rows):
        some = asked[start : start + rows]
        differing = _count_bits(values[some][:, None] ^ values[positions][None, :])
        fits = (differing <= distance) & (of_set[some][:, None] != of_set[positions][None, :])
        row, column = np.nonzero(fits)
        if not len(row):
            continue
        mine, theirs = some[row], positions[column]
        # Two that were both asked about are met from both sides, and two that have several bands in
        # common in each of these.
        once = (mine < theirs) | ~is_asked[theirs]
        once &= ~_share_earlier_band(values[mine] ^ values[theirs], *part)
        mine, theirs, bits = mine[once], theirs[once], differing[row[once], column[once]]
        yield np.minimum(mine, theirs), np.maximum(mine, theirs), bits


def _share_earlier_band(differing: NDArray[np.uint64], bands: int, band: int) -> NDArray[np.bool_]:
    width = _BITS // bands
    shared = np.zeros(len(differing), bool)
    for earlier in range(band):
        mask = np.uint64(((1 << width) - 1) << (earlier * width))
        shared |= (differing & mask) == 0
    return shared


def _count_bits(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    if hasattr(np, "bitwise_count"):  # from NumPy 2 on, and several times faster
        counted: NDArray[np.uint8] = np.bitwise_count(numbers)
        return counted
    octets = numbers.view(np.uint8).reshape(*numbers.shape, 8)
    counts: NDArray[np.uint8] = _COUNTS[octets].sum(axis=-1, dtype=np.uint8)
    return counts
