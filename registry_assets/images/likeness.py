"""Which pictures look alike, by their perceptual hashes."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_BITS = 64
_PAIRS_AT_ONCE = 1 << 22
_COUNTS = np.array([bin(number).count("1") for number in range(256)], np.uint8)


def find_alike(
    hashes: Sequence[str],
    sets: Sequence[int],
    distance: int,
    *,
    asked: Collection[int] | None = None,
) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of pictures of different sets, and in how many bits their hashes differ.

    A hash without any bit is that of a plain surface, which says nothing, and is left out.

    Args:
        hashes: As `perceptual_hash` gives them.
        sets: Which set each picture is of.
        distance: In how many of the 64 bits two may differ.
        asked: Of which sets one of the two has to be; of any when None.

    Returns:
        Positions in `hashes`, the smaller one first, each pair once.

    Raises:
        ValueError: If the distance is not in 0 to 64.
    """
    if not 0 <= distance <= _BITS:
        raise ValueError(f"the distance of two hashes is 0 to {_BITS}, not {distance}")
    values = np.array([int(text, 16) for text in hashes], np.uint64)
    of_set = np.array(sets, np.int64)
    is_asked = np.ones(len(values), bool) if asked is None else np.isin(of_set, list(asked))
    told = np.flatnonzero(values)
    seen: set[tuple[int, int]] = set()
    for alike in _neighbourhoods(values[told], distance):
        for one, other, differing in _pairs(told[alike], values, of_set, is_asked, distance):
            pair = (one, other) if one < other else (other, one)
            if pair not in seen:
                seen.add(pair)
                yield *pair, differing


def _neighbourhoods(values: NDArray[np.uint64], distance: int) -> Iterator[NDArray[np.intp]]:
    """Yield groups so that every two values within the distance are together in one.

    Cut into more bands than bits may differ, two values have a band in common.
    """
    bands = next((count for count in (4, 8) if count > distance), None)
    if bands is None:
        if len(values):
            yield np.arange(len(values))
        return
    width = _BITS // bands
    for band in range(bands):
        of_band = (values >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(of_band, kind="stable")
        borders = np.flatnonzero(np.diff(of_band[order])) + 1
        yield from (group for group in np.split(order, borders) if len(group) > 1)


def _pairs(
    positions: NDArray[np.intp],
    values: NDArray[np.uint64],
    of_set: NDArray[np.int64],
    is_asked: NDArray[np.bool_],
    distance: int,
) -> Iterator[tuple[int, int, int]]:
    """Compare those that were asked about with all, some rows at a time."""
    if not np.ptp(of_set[positions]):
        return
    asked = positions[is_asked[positions]]
    rows = max(1, _PAIRS_AT_ONCE // max(len(positions), 1))
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows]
        differing = _count_bits(values[part][:, None] ^ values[positions][None, :])
        fits = (differing <= distance) & (of_set[part][:, None] != of_set[positions][None, :])
        for row, column in zip(*np.nonzero(fits), strict=True):
            yield int(part[row]), int(positions[column]), int(differing[row, column])


def _count_bits(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    if hasattr(np, "bitwise_count"):  # from NumPy 2 on, and several times faster
        counted: NDArray[np.uint8] = np.bitwise_count(numbers)
        return counted
    octets = numbers.view(np.uint8).reshape(*numbers.shape, 8)
    counts: NDArray[np.uint8] = _COUNTS[octets].sum(axis=-1, dtype=np.uint8)
    return counts
