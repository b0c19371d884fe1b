"""Stage classify_day_night_and_foggy_images: links each image into the folder of its class."""

from contextlib import suppress
from pathlib import Path

from arguments import StageParser, existing_folder, measurements_table

from registry_assets.images import (
    IMAGE_CLASSES,
    ClassThresholds,
    classify,
    link_file,
    read_measurements,
)


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_argument("--day-night-image-threshold", type=float, required=True)
    parser.add_argument("--fog-image-threshold", type=float, required=True)
    parser.add_argument("images", type=existing_folder, help="the images to classify")
    parser.add_argument("table", type=measurements_table, help="what measure_images wrote for them")
    for light, visibility in IMAGE_CLASSES:
        parser.add_argument(f"{light}_{visibility}", type=Path, help="where such images go")
    arguments = parser.parse_args()
    outs = {image_class: getattr(arguments, "_".join(image_class)) for image_class in IMAGE_CLASSES}
    parser.replace_folders(list(outs.values()), inputs=[arguments.images, arguments.table.parent])

    thresholds = ClassThresholds(arguments.day_night_image_threshold, arguments.fog_image_threshold)
    counts = dict.fromkeys(IMAGE_CLASSES, 0)
    for measurement in read_measurements(arguments.table):
        if not measurement.is_readable:
            continue
        image_class = classify(measurement, thresholds)
        path = measurement.path
        # The table also has what earlier stages removed.
        with suppress(FileNotFoundError):
            link_file(f"{arguments.images}/{path}", f"{outs[image_class]}/{path}")
            counts[image_class] += 1
    summary = ", ".join(f"{count:,} {' '.join(which)}" for which, count in counts.items())
    print(f"classify_day_night_and_foggy_images {arguments.images.name}: {summary}")


if __name__ == "__main__":
    main()
