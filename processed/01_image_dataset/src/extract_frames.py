"""Stage extract_frames: videos to upright frames at a steady rate."""

from pathlib import Path

from arguments import StageParser, existing_folder

from registry_assets.images import extract_frames
from registry_assets.images.algorithms import ALGORITHMS


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_algorithm("frames")
    parser.add_argument("--frames-per-second", type=float, required=True)
    parser.add_argument("inputs", type=existing_folder, help="the collection")
    parser.add_argument("out", type=Path, help="where the frames and their tables go")
    arguments = parser.parse_args()
    if not 0 < arguments.frames_per_second < float("inf"):
        parser.error("frames_per_second has to be above 0")
    parser.replace_folders([arguments.out], inputs=[arguments.inputs])

    videos = extract_frames(
        arguments.inputs,
        arguments.out,
        frames_per_second=arguments.frames_per_second,
        version=arguments.algorithm or ALGORITHMS["frames"],
    )
    for video in videos:
        if video.reason:
            print(f"{video.path!a}: {video.summary}")
    written = sum(video.frames_written for video in videos)
    print(f"extract_frames {arguments.inputs.name}: {len(videos):,} videos, {written:,} frames")


if __name__ == "__main__":
    main()
