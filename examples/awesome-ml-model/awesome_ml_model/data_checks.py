"""What is asked of the data before a model may be trusted, beside what the registry asks.

Dagster reads annotations at run time, so this module does without postponed ones.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from dagster import AssetCheckResult, AssetChecksDefinition, AssetKey, asset_check

from awesome_ml_model.params import CLASSES, PARAMS_FILE, read_params
from registry_assets import build_lineage, read_registry
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import ListingNotAvailableError

DATA = tuple(f"data/{label}_images" for label in CLASSES)
_NO_IMAGES = {".gitignore"}


def count_images(listing: Mapping[str, str]) -> int:
    """How many images there are among the files of a folder."""
    return sum(PurePosixPath(name).name not in _NO_IMAGES for name in listing)


def find_shared(listing: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The images of one folder whose content is in another, too."""
    contents = {md5 for name, md5 in other.items() if PurePosixPath(name).name not in _NO_IMAGES}
    return sorted(name for name, md5 in listing.items() if md5 in contents)


def build_data_checks(root: Path) -> list[AssetChecksDefinition]:
    """Builds the checks of the imported data, in the versions that are recorded."""

    def check_number(path: str) -> AssetChecksDefinition:
        @asset_check(asset=AssetKey(path.split("/")), name="enough_images")
        def enough_images() -> AssetCheckResult:
            """There are as many images as `fewest_images` in the parameters asks for."""
            fewest = read_params(root / PARAMS_FILE).fewest_images
            count = count_images(_read_listing(root, path))
            return AssetCheckResult(
                passed=count >= fewest,
                description=f"{count} images, and {fewest} are asked for.",
                metadata={"images": count},
            )

        return enough_images

    day, night = DATA

    @asset_check(asset=AssetKey(night.split("/")), additional_deps=[AssetKey(day.split("/"))])
    def shares_no_image() -> AssetCheckResult:
        """No image is in both classes."""
        shared = find_shared(_read_listing(root, night), _read_listing(root, day))
        said = f"{len(shared)} images are both day and night"
        return AssetCheckResult(
            passed=not shared,
            description=f"{said}: {', '.join(shared[:3])}." if shared else f"{said}.",
            metadata={"shared": len(shared)},
        )

    return [*map(check_number, DATA), shares_no_image]


def _read_listing(root: Path, path: str) -> Mapping[str, str]:
    version = build_lineage(read_registry(root)).node(path).version
    listing = DvcRepo(root).read_listing(version.md5) if version is not None else None
    if listing is None:
        raise ListingNotAvailableError([path])
    return listing
