"""Stage remove_dark_and_bright_images: links what is neither nearly black nor nearly white.

What somebody decided about an image comes first.
"""

from collections import Counter
from pathlib import Path

from arguments import StageParser, existing_folder, measurements_table

from registry_assets.errors import MetafileError
from registry_assets.images import (
    BrightnessRange,
    link_file,
    read_decisions,
    read_measurements,
    removal_reason,
)


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_argument("--dark-image-threshold", type=float, required=True)
    parser.add_argument("--bright-image-threshold", type=float, required=True)
    parser.add_argument("--decisions", type=Path, help="what was decided about single images")
    parser.add_argument("images", type=existing_folder, help="the intact images")
    parser.add_argument("table", type=measurements_table, help="what measure_images wrote for them")
    parser.add_argument("out", type=Path, help="where the images that are kept go")
    arguments = parser.parse_args()
    try:
        brightness = BrightnessRange(
            arguments.dark_image_threshold, arguments.bright_image_threshold
        )
        decisions = read_decisions(arguments.decisions) if arguments.decisions else {}
    except (ValueError, MetafileError) as error:
        parser.error(str(error))
    parser.replace_folders([arguments.out], inputs=[arguments.images, arguments.table.parent])

    verdicts: Counter[str] = Counter()
    for measurement in read_measurements(arguments.table):
        decision = decisions.get(measurement.md5)
        is_allowed = decision is not None and decision.verdict == "allow"
        if measurement.is_readable:
            reason = removal_reason(measurement, brightness, decision)
            verdicts[reason or ("allowed" if is_allowed else "kept")] += 1
            if reason is None:
                path = measurement.path
                link_file(f"{arguments.images}/{path}", f"{arguments.out}/{path}")
        elif is_allowed:
            print(f"{measurement.path!a}: {decision}, but left out: {measurement.reason}")
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"remove_dark_and_bright_images {arguments.images.name}: {counts or 'no images'}")


if __name__ == "__main__":
    main()
