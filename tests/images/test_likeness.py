"""Pictures that look alike: the quick way finds what comparing all with all finds."""

import random

import pytest

from registry_assets.images import find_alike


def differing(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("distance", [0, 3, 4, 7, 8, 20])
def test_every_pair_within_the_distance_is_found_once(distance: int) -> None:
    chance = random.Random(distance)
    hashes = [f"{chance.getrandbits(64):016x}" for _ in range(40)]
    for _ in range(160):
        value = int(chance.choice(hashes), 16)
        for _ in range(chance.randrange(10)):
            value ^= 1 << chance.randrange(64)
        hashes.append(f"{value:016x}")
    sets = [chance.randrange(3) for _ in hashes]
    found = list(find_alike(hashes, sets, distance))
    expected = {
        (one, other, bits)
        for other in range(len(hashes))
        for one in range(other)
        if sets[one] != sets[other] and (bits := differing(hashes[one], hashes[other])) <= distance
    }
    assert len(expected) > 5
    assert set(found) == expected
    assert len(found) == len(expected)
    some = {pair for pair in expected if 1 in (sets[pair[0]], sets[pair[1]])}
    assert sorted(find_alike(hashes, sets, distance, asked=[1])) == sorted(some)


def test_plain_surfaces_are_like_nothing_and_a_distance_has_bounds() -> None:
    assert list(find_alike(["0" * 16, "0" * 16], [0, 1], 64)) == []
    assert list(find_alike([], [], 3)) == []
    with pytest.raises(ValueError, match="0 to 64"):
        list(find_alike([], [], 65))


def thumbnails_of(*levels: list[int]) -> list[str]:
    """Return thumbnails whose rows are all these eight grey levels."""
    return [(bytes(row) * 8).hex() for row in levels]


DARK_TO_BRIGHT = [20, 50, 80, 110, 140, 170, 200, 230]
BRIGHT_AT_THE_RIGHT = [20, 21, 22, 23, 24, 25, 26, 230]


def test_the_same_hash_is_not_enough_where_thumbnails_disagree() -> None:
    compressed = [level + (-2) ** n % 3 for n, level in enumerate(DARK_TO_BRIGHT)]
    pictures = thumbnails_of(DARK_TO_BRIGHT, BRIGHT_AT_THE_RIGHT, compressed)
    hashes, sets = ["f" * 16] * 3, [0, 1, 2]
    assert len(list(find_alike(hashes, sets, 5))) == 3
    assert list(find_alike(hashes, sets, 5, thumbnails=pictures)) == [(0, 2, 0)]


def test_a_picture_without_a_thumbnail_or_contrast_is_like_nothing() -> None:
    pictures = ["", *thumbnails_of(DARK_TO_BRIGHT, [9] * 8), ""]
    assert list(find_alike(["f" * 16] * 4, range(4), 5, thumbnails=pictures)) == []


def test_thumbnails_may_differ_by_an_eighth_of_their_contrast() -> None:
    contrast = (sum(level**2 for level in DARK_TO_BRIGHT) / 8 - 125**2) ** 0.5
    for added, expected in ((int(contrast / 8), 1), (int(contrast / 8) + 1, 0)):
        brighter = [level + added for level in DARK_TO_BRIGHT]
        pictures = thumbnails_of(DARK_TO_BRIGHT, brighter)
        assert len(list(find_alike(["f" * 16] * 2, [0, 1], 5, thumbnails=pictures))) == expected


@pytest.mark.parametrize("distance", [0, 3, 5, 20])
def test_of_a_series_each_picture_is_named_with_the_nearest_before_it(distance: int) -> None:
    chance = random.Random(distance)
    value = chance.getrandbits(64)
    hashes, sets = [], []
    for number in range(300):
        value ^= (1 << chance.randrange(64)) * (number % 3 == 0)
        hashes.append(f"{value:016x}")
        sets.append(chance.randrange(100))
    expected = {}
    for one, other, bits in find_alike(hashes, sets, distance):
        expected[other] = min(expected.get(other, (bits, one)), (bits, one))
    assert len(expected) > 50
    found = list(find_alike(hashes, sets, distance, nearest_before=True))
    assert found == [(one, other, bits) for other, (bits, one) in sorted(expected.items())]
