"""The versions of the algorithms that stages compute.

They live in this package, where DVC does not look: an upgrade would change what a stage makes and
leave what it made before up to date. So each data set states in its `params.yaml` which versions
its results are made with; they are parameters of its stages. Whoever changes what one makes of
the same input raises its number here and in the `params.yaml` that is shipped.
"""

from collections.abc import Mapping

from registry_assets.errors import AlgorithmVersionError

ALGORITHMS: Mapping[str, int] = {
    # Videos to frames: which ones, how large, how they are written.
    "frames": 2,
    # What is a readable image, the reasons for what is not, and every number in the table.
    "measures": 2,
    # What thresholds and decisions make of the table.
    "verdicts": 2,
}
"""By name, which version this package computes; version 1 is that of data sets that state none."""


def check_algorithm(name: str, version: int) -> None:
    """Make sure that this package computes the version of an algorithm that is asked for.

    Raises:
        AlgorithmVersionError: If it computes another.
    """
    if version != ALGORITHMS[name]:
        raise AlgorithmVersionError(name, version, ALGORITHMS[name])
