"""The versions of the algorithms that stages compute.

The algorithms are in this package, which DVC does not track: after an upgrade, outputs of another
version would still count as up to date. So the `params.yaml` of each data set states the versions,
and they are parameters of its stages. Whoever changes the result of an algorithm must increase its
version here and in the shipped `params.yaml`. Where it can still compute the version before, data
sets that state that one go on.
"""

from collections.abc import Mapping

from registry_assets.errors import AlgorithmVersionError

ALGORITHMS: Mapping[str, int] = {
    # Extracting frames: their choice, size and format, and what the tables say of them.
    "frames": 3,
    # The table of measurements: readability, reasons, all numbers and EXIF.
    "measures": 3,
    # Verdicts from the table, thresholds and decisions.
    "verdicts": 2,
}
"""The version that this package computes, by name; data sets that state none have version 1."""

TABLES_WITHOUT_EXIF = 2
"""The version of frames and measures whose tables have no EXIF, and none of the times of frames."""

_COMPUTED_TOO: Mapping[str, int] = {
    "frames": TABLES_WITHOUT_EXIF,
    "measures": TABLES_WITHOUT_EXIF,
}


def check_algorithm(name: str, version: int) -> None:
    """Check that this package computes a version of an algorithm.

    Raises:
        AlgorithmVersionError: If it computes another one.
    """
    if version not in (ALGORITHMS[name], _COMPUTED_TOO.get(name)):
        raise AlgorithmVersionError(name, version, ALGORITHMS[name])
