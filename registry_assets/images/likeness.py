"""Finding pictures that look alike, by two measures that must agree.

The perceptual hash finds candidates quickly, but it also pairs unrelated pictures: its 64 bits only
tell where brightness increases to the right, which is often the same for two skies above two
horizons. So the thumbnails, 8 x 8 grey levels, must match, too: their root mean square difference
must be at most an eighth of the contrast of each. Resized or recompressed pictures are alike;
brightened ones, or ones cropped by more than a few percent, are not. Recompressing a picture with
very low contrast can also exceed the limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_DIFFERENCE = 1 / 8
"""The maximum difference of thumbnails, relative to their contrast (standard deviation)."""

_BITS = 64
_PAIRS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = _PAIRS_AT_ONCE // 64
_NO_HASHES = np.zeros(0, np.uint64)
_NO_LEVELS = np.zeros((0, 64), np.uint8)
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
    """Yield pairs of alike pictures from different sets, with the number of differing bits.

    Pictures with a hash of zero, such as plain surfaces, are skipped.

    Args:
        hashes: The `perceptual_hash` of each picture.
        sets: The set of each picture.
        distance: The maximum number of differing bits, of 64.
        thumbnails: The `thumbnail` of each picture; one without a thumbnail is like no other. If
            None, only hashes are compared.
        asked: Sets that one picture of a pair must be from (default: any).
        nearest_before: Yield for each picture only the nearest of those before it.

    Returns:
        Positions in `hashes`, the smaller one first; each pair once.

    Raises:
        ValueError: If the distance is not in 0 to 64.
    """
    signatures = Signatures.of(hashes, thumbnails)
    return find_alike_among(signatures, sets, distance, asked=asked, nearest_before=nearest_before)


class Signatures(NamedTuple):
    """What pictures are compared by, 72 bytes for each.

    Attributes:
        hashes: Their perceptual hashes.
        levels: The grey levels of their thumbnails, 64 in each row; None if only hashes are
            compared.
    """

    hashes: NDArray[np.uint64]
    levels: NDArray[np.uint8] | None

    @classmethod
    def of(cls, hashes: Iterable[str], thumbnails: Iterable[str] | None) -> Signatures:
        """The signatures of pictures with a `perceptual_hash` and a `thumbnail` each."""
        numbers = np.array([int(text or "0", 16) for text in hashes], np.uint64)
        if thumbnails is None:
            return cls(numbers, None)
        data = bytes.fromhex("".join(text or _NO_THUMBNAIL for text in thumbnails))
        return cls(numbers, np.frombuffer(data, np.uint8).reshape(-1, 64))

    @classmethod
    def join(cls, parts: Sequence[Signatures]) -> Signatures:
        """The signatures of all parts, which have thumbnails."""
        levels = [part.levels for part in parts if part.levels is not None]
        return cls(
            np.concatenate([_NO_HASHES, *(part.hashes for part in parts)]),
            np.concatenate([_NO_LEVELS, *levels]),
        )


def find_alike_among(
    pictures: Signatures,
    sets: Sequence[int] | NDArray[np.int64],
    distance: int,
    *,
    asked: Collection[int] | None = None,
    nearest_before: bool = False,
) -> Iterator[tuple[int, int, int]]:
    """The same as `find_alike`, of the signatures of the pictures."""
    if not 0 <= distance <= _BITS:
        raise ValueError(f"the distance of two hashes is 0 to {_BITS}, not {distance}")
    values, levels = pictures
    of_set = np.asarray(sets, np.int64)
    is_asked = np.ones(len(values), bool) if asked is None else np.isin(of_set, list(asked))
    comparable = values != 0
    contrast = None if levels is None else _contrast_of(levels)
    if contrast is not None:
        comparable &= contrast > 0
    nearest: dict[int, tuple[int, int]] = {}
    for ones, others, differing in _candidates(
        np.flatnonzero(comparable), values, of_set, is_asked, distance
    ):
        if levels is not None and contrast is not None:
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


def _contrast_of(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the contrast of each picture."""
    contrast = np.empty(len(levels), np.float32)
    for start in range(0, len(levels), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        contrast[part] = levels[part].astype(np.float32).std(axis=1)
    return contrast


def _agree(
    levels: NDArray[np.uint8],
    contrast: NDArray[np.float32],
    ones: _Positions,
    others: _Positions,
) -> NDArray[np.bool_]:
    agree = np.empty(len(ones), bool)
    most = MOST_DIFFERENCE * np.minimum(contrast[ones], contrast[others])
    for start in range(0, len(ones), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        difference = levels[ones[part]].astype(np.float32) - levels[others[part]]
        agree[part] = np.sqrt(np.square(difference).mean(axis=1)) <= most[part]
    return agree


def _candidates(
    comparable: _Positions,
    values: NDArray[np.uint64],
    of_set: NDArray[np.int64],
    is_asked: NDArray[np.bool_],
    distance: int,
) -> Iterator[tuple[_Positions, _Positions, NDArray[np.uint8]]]:
    """Yield pairs within the distance, each once: smaller position, larger position, bits."""
    # With more bands than differing bits, two values have at least one band in common.
    bands = next((count for count in (4, 8) if count > distance), 1)
    groups = [_equal_in_band(values[comparable], bands, band) for band in range(bands)]
    if sum(len(group) ** 2 for found in groups for group in found) >= len(comparable) ** 2:
        # Most pictures are similar, as from a fixed camera: compare all pairs.
        bands, groups = 1, [[np.arange(len(comparable))]]
    for band, found in enumerate(groups):
        for group in found:
            yield from _pairs(comparable[group], values, of_set, is_asked, distance, (bands, band))


def _equal_in_band(values: NDArray[np.uint64], bands: int, band: int) -> list[_Positions]:
    """Return groups of values that are equal in a band of their bits."""
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
    """Compare the pictures of `asked` sets with all others, some rows at a time."""
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
        # A pair of two asked pictures is found twice, and a pair with several equal bands in each
        # of them.
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
