"""A page that shows what data sets leave out: one HTML file to send to somebody.

It has no scripts and makes no requests. Its thumbnails are made anew from pixels, so they hold no
EXIF, and names are escaped.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from registry_assets.curation.explaining import judge_in_order
from registry_assets.curation.left_out import (
    DatasetCounts,
    build_table,
    count_pictures,
    describe_open,
)
from registry_assets.curation.pictures import Pictures, read_pictures
from registry_assets.curation.placement import read_placement
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.images.contents import Unreadable
from registry_assets.images.judging import OUTCOMES
from registry_assets.images.reasons import kind_of, meaning_of
from registry_assets.images.shrinking import make_thumbnails
from registry_assets.images.tables import escape_text
from registry_assets.model import Dataset
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.units import count_of, format_size
from registry_assets.writing import write_whole

_MOST_SHOWN = 480
"""The number of pictures on a page; a thumbnail takes about 6 kB, so the page takes 4 MB."""

_MOST_OF_GROUP = 24
"""The number of pictures of one reason in one collection."""

_FEWEST_OF_GROUP = 4
_MOST_COLUMNS = 6
_LONGEST_SIDE = 160

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff;
  margin: 2rem auto; max-width: 72rem; padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .2rem; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #d0d7de; }}
h3 {{ font-size: 1rem; margin: 1.8rem 0 0; break-after: avoid; }}
h4 {{ font-size: .9rem; margin: .8rem 0 .2rem; font-weight: 600; break-after: avoid; }}
ul {{ margin: 0; padding-left: 1.2rem; columns: 22rem; font-size: .85rem; }}
li {{ overflow-wrap: anywhere; break-inside: avoid; }}
p {{ margin: .2rem 0 .6rem; }}
.quiet {{ color: #57606a; }}
.scrolls {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .15rem .8rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
th {{ min-width: 3.5rem; }}
thead th {{ border-bottom: 1px solid #8c959f; vertical-align: bottom; max-width: 9rem;
  overflow-wrap: break-word; word-break: normal; }}
.total td {{ font-weight: 600; border-top: 1px solid #d0d7de; }}
.class td:first-child, .reason td:first-child {{ padding-left: 1rem; }}
.detail td {{ color: #57606a; }}
.detail td:first-child {{ padding-left: 2rem; overflow-wrap: anywhere; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
  gap: .8rem; margin: .5rem 0 0; }}
figure {{ margin: 0; break-inside: avoid; }}
.frame {{ height: 10rem; display: flex; align-items: center; justify-content: center;
  background: #eaeef2; border-radius: 3px; color: #57606a; font-size: .8rem; text-align: center; }}
.frame img {{ max-width: 100%; max-height: 100%; }}
figcaption {{ font-size: .78rem; overflow-wrap: anywhere; margin-top: .2rem; }}
figcaption span {{ display: block; color: #57606a; }}
@media print {{
  body {{ margin: 0; max-width: none; font-size: 11px; padding: 0; }}
  .pictures {{ grid-template-columns: repeat(6, 1fr); gap: .4rem; }}
  .frame {{ height: 2.6cm; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  .scrolls {{ overflow: visible; }}
}}
</style>
</head>
<body>
"""


@dataclass(frozen=True)
class _Group:
    """What is left out for one kind of reason in one collection.

    Attributes:
        rows: All of it.
        shown: Those that are shown.
    """

    collection: str
    kind: str
    rows: Sequence[int]
    shown: Sequence[int]


def write_page(lineage: Lineage, datasets: Sequence[Dataset], place: Path) -> str:
    """Write the page, and return what is in it, in words.

    Args:
        lineage: The graph.
        datasets: The data sets; those without measures are passed over.
        place: The file to write.

    Raises:
        OSError: when it cannot be written.
        MetafileError: when a decisions file cannot be read.
    """
    text, shown, left_out = build_page(lineage, datasets)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, text)
    size = format_size(place.stat().st_size)
    return f"{shown:,} of {count_of(left_out, 'file')} that are left out, {size}"


def build_page(lineage: Lineage, datasets: Sequence[Dataset]) -> tuple[str, int, int]:
    """Build the page.

    Returns:
        The page, the number of files that are shown, and of those that are left out.
    """
    listings = DvcRepo(lineage.registry.root).listings()
    read = (read_pictures(lineage, dataset.path, listings) for dataset in datasets)
    measured = [pictures for pictures in read if pictures.has_measures]
    most = _share(measured)
    parts: list[str] = []
    shown = left_out = 0
    for pictures in measured:
        counts = count_pictures(pictures, read_placement(lineage, listings, pictures))
        groups = list(_find_groups(pictures, most, max(0, _MOST_SHOWN - shown)))
        shown += sum(len(group.shown) for group in groups)
        left_out += counts.total.left_out
        parts += _describe_dataset(pictures, counts)
        parts += _describe_groups(pictures, groups, listings)
    title = f"What {lineage.registry.name} keeps and leaves out"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">{shown:,} of {count_of(left_out, "file")} that are left out are shown '
        "below.</p>",
        *parts,
    ]
    head = _HEAD.format(title=escape(title))
    return f"{head}{chr(10).join(body)}\n</body>\n</html>\n", shown, left_out


def _share(measured: Sequence[Pictures]) -> int:
    """The number of pictures of each group, so that all groups have some."""
    groups = sum(len(_group_rows(pictures)) for pictures in measured)
    return min(_MOST_OF_GROUP, max(_FEWEST_OF_GROUP, _MOST_SHOWN // max(groups, 1)))


def _group_rows(pictures: Pictures) -> Mapping[tuple[str, str], list[int]]:
    """The rows that are left out, by collection and kind of reason."""
    found: dict[tuple[str, str], list[int]] = {}
    kept = np.array([outcome.is_kept for outcome in OUTCOMES])
    for row in np.flatnonzero(~kept[pictures.outcomes]).tolist():
        key = (pictures.columns.collection_of(row), kind_of(pictures.reason(row)))
        found.setdefault(key, []).append(row)
    return found


def _find_groups(pictures: Pictures, most: int, left: int) -> Iterator[_Group]:
    found = _group_rows(pictures)
    by_kind = Counter[str]()
    for (_, kind), rows in found.items():
        by_kind[kind] += len(rows)
    order = sorted(found, key=lambda key: (-by_kind[key[1]], key[1]))
    for collection, kind in order:
        rows = found[collection, kind]
        count = min(most, len(rows), left)
        # Taken evenly: the first of a series are often alike.
        shown = [rows[len(rows) * n // count] for n in range(count)]
        left -= count
        yield _Group(collection, kind, rows, shown)


def _describe_dataset(pictures: Pictures, counts: DatasetCounts) -> Iterator[str]:
    table = build_table(counts, by_collection=len(counts.collections) > _MOST_COLUMNS)
    head = "".join(f"<th>{_text(name)}</th>" for name in table.header)
    yield f"<h2>{_text(pictures.source)}</h2>"
    yield '<div class="scrolls"><table>'
    yield f"<thead><tr><th></th>{head}</tr></thead><tbody>"
    yield from (_describe_line(*line) for line in table.lines)
    yield "</tbody></table></div>"
    if table.details:
        items = "".join(f"<li>{row.total:,} {_text(row.name)}</li>" for row in table.details)
        yield f"<ul>{items}</ul>"
    limits = ", ".join(f"{name} {value:g}" for name, value in pictures.limits.items())
    if limits:
        yield f'<p class="quiet">{_text(limits)}</p>'
    yield from (f"<p>{_text(line)}</p>" for line in describe_open(counts))


def _describe_line(kind: str, name: str, numbers: Sequence[int]) -> str:
    cells = "".join(f"<td>{number:,}</td>" if number else "<td>·</td>" for number in numbers)
    return f'<tr class="{kind}"><td>{_text(name)}</td>{cells}</tr>'


def _describe_groups(
    pictures: Pictures, groups: Sequence[_Group], listings: Listings
) -> Iterator[str]:
    thumbnails = _make_thumbnails(pictures, groups, listings)
    hidden = [group for group in groups if not group.shown]
    kind = ""
    for group in groups:
        if not group.shown:
            continue
        if group.kind != kind:
            kind = group.kind
            yield f"<h3>{_text(kind)}</h3>"
            yield f'<p class="quiet">{_text(meaning_of(kind))}</p>'
        more = len(group.rows) - len(group.shown)
        rest = f", {more:,} of them not shown" if more else ""
        yield f"<h4>{_text(group.collection)}: {count_of(len(group.rows), 'file')}{rest}</h4>"
        shown = [row for row in group.shown if row in thumbnails]
        others = [row for row in group.shown if row not in thumbnails]
        if shown:
            figures = "".join(_describe_picture(pictures, row, thumbnails[row]) for row in shown)
            yield f'<div class="pictures">{figures}</div>'
        if others:
            items = "".join(f"<li>{_describe_file(pictures, row, listings)}</li>" for row in others)
            yield f"<ul>{items}</ul>"
    if hidden:
        files = sum(len(group.rows) for group in hidden)
        yield f"<p>{count_of(files, 'file')} more in other collections not shown.</p>"


def _make_thumbnails(
    pictures: Pictures, groups: Sequence[_Group], listings: Listings
) -> Mapping[int, bytes]:
    """The thumbnails of those rows whose picture is here and can be shown."""
    rows = [row for group in groups for row in group.shown if not pictures.columns.reason[row]]
    places = {row: _place_of(pictures, row, listings) for row in rows}
    there = {row: place for row, place in places.items() if place is not None}
    made = make_thumbnails(there.values(), _LONGEST_SIDE)
    found = dict(zip(there, made, strict=True))
    return {row: small for row, small in found.items() if not isinstance(small, Unreadable)}


def _place_of(pictures: Pictures, row: int, listings: Listings) -> Path | None:
    return listings.place_of(pictures.columns.md5[row].decode())


def _describe_picture(pictures: Pictures, row: int, thumbnail: bytes) -> str:
    path = _text(pictures.columns.paths[row])
    data = base64.b64encode(thumbnail).decode()
    *_, last = judge_in_order(pictures, row)
    return (
        f'<figure><div class="frame"><img src="data:image/webp;base64,{data}" alt="{path}"></div>'
        f"<figcaption>{path}<span>{_text(last.compared or last.text)}</span></figcaption></figure>"
    )


def _describe_file(pictures: Pictures, row: int, listings: Listings) -> str:
    reason = pictures.reason(row)
    said = reason if reason != kind_of(reason) else ""
    if not pictures.columns.reason[row]:
        is_here = _place_of(pictures, row, listings) is not None
        said = "cannot be shown" if is_here else "not in the cache of this machine"
    note = f' <span class="quiet">{_text(said)}</span>' if said else ""
    return f"{_text(pictures.columns.paths[row])}{note}"


def _text(text: str) -> str:
    """Text as HTML: nothing in a name is markup, and control characters are visible."""
    return escape(escape_text(text), quote=True)
