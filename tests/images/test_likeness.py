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
