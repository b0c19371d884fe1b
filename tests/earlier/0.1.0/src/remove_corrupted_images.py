"""Stage remove_corrupted_images: links the intact images and frames, by the table."""

from pathlib import Path

from arguments import StageParser, existing_folder, measurements_table

from registry_assets.images import link_file, read_measurements


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_argument("inputs", type=existing_folder, help="the collection")
    parser.add_argument("frames", type=existing_folder, help="what extract_frames wrote for it")
    parser.add_argument("table", type=measurements_table, help="what measure_images wrote for it")
    parser.add_argument("out", type=Path, help="where the intact images go")
    arguments = parser.parse_args()
    parser.replace_folders(
        [arguments.out], inputs=[arguments.inputs, arguments.frames, arguments.table.parent]
    )

    files = kept = 0
    for measurement in read_measurements(arguments.table):
        files += 1
        if measurement.is_readable:
            folder = arguments.frames if measurement.source else arguments.inputs
            link_file(f"{folder}/{measurement.path}", f"{arguments.out}/{measurement.path}")
            kept += 1
    print(f"remove_corrupted_images {arguments.inputs.name}: {kept:,} of {files:,} files kept")


if __name__ == "__main__":
    main()
