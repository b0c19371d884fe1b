"""Stage remove_dark_and_bright_images: links what is neither nearly black nor nearly white."""

from collections import Counter
from pathlib import Path

from arguments import StageParser, existing_folder, measurements_table

from registry_assets.images import BrightnessRange, link_file, read_measurements, removal_reason


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_argument("--dark-image-threshold", type=float, required=True)
    parser.add_argument("--bright-image-threshold", type=float, required=True)
    parser.add_argument("images", type=existing_folder, help="the intact images")
    parser.add_argument("table", type=measurements_table, help="what measure_images wrote for them")
    parser.add_argument("out", type=Path, help="where the images that are kept go")
    arguments = parser.parse_args()
    try:
        brightness = BrightnessRange(
            arguments.dark_image_threshold, arguments.bright_image_threshold
        )
    except ValueError as error:
        parser.error(str(error))
    parser.replace_folders([arguments.out], inputs=[arguments.images, arguments.table.parent])

    verdicts: Counter[str] = Counter()
    for measurement in read_measurements(arguments.table):
        if measurement.is_readable:
            reason = removal_reason(measurement, brightness)
            verdicts[reason or "kept"] += 1
            if reason is None:
                link_file(arguments.images / measurement.path, arguments.out / measurement.path)
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"remove_dark_and_bright_images {arguments.images.name}: {counts or 'no images'}")


if __name__ == "__main__":
    main()
