"""Making and withdrawing decisions about single images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote

from registry_assets.curation.duplicates import find_tables
from registry_assets.curation.initial_decisions import PARAMETERS, collections_of
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import (
    RefusedError,
)
from registry_assets.images.decision_text import (
    editing,
    read_text,
    with_decisions,
    without_decisions,
)
from registry_assets.images.decisions import (
    Decision,
    Verdict,
    parse_decisions,
    read_decisions,
    today,
)
from registry_assets.images.initial_decisions import LeftOut, leave_out_duplicates
from registry_assets.images.measurements import Measurement, is_table, read_measurements
from registry_assets.images.verdicts import BrightnessRange
from registry_assets.model import Dataset
from registry_assets.provenance.finding import identify
from registry_assets.registry.decisions import Decided, find_decided
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.registry.status.reading import read_recorded_status
from registry_assets.writing import write_whole


@dataclass(frozen=True)
class Subject:
    """An image to decide about.

    Attributes:
        file: The file as given by the user.
        md5: The content.
        dataset: The data set.
        paths: The path of the image in each collection of the data set that has it.
    """

    file: str
    md5: str
    dataset: Dataset
    paths: Mapping[str, str]


@dataclass(frozen=True)
class Made:
    """Decisions that were made.

    Attributes:
        done: The decisions.
        reconsidered: Automatic decisions about duplicates that changed with them, by collection.
        written: The files that were written, each with its collection.
    """

    done: Sequence[Decided]
    reconsidered: Mapping[str, LeftOut]
    written: Mapping[str, str]


class Decider:
    """Makes decisions about images of one registry.

    Args:
        lineage: The graph, freshly read.
    """

    def __init__(self, lineage: Lineage) -> None:
        self.registry = lineage.registry
        self._lineage = lineage
        self._listings = DvcRepo(self.registry.root).listings()
        self._tracer = Tracer(lineage, self._listings)
        self._rows = cache(self._read_rows)

    def find(
        self, file: str, *, dataset: str | None = None, collection: str | None = None
    ) -> Subject:
        """Find an image, and the collections of a data set that have it.

        Args:
            file: A path in the registry or outside, or an md5.
            dataset: The data set; by default the one that contains the path, or the only one that
                has the image.
            collection: The collection of the data set; all that have the image when None.

        Raises:
            RefusedError: when no data set has the image, several have it, or the stages of the
                data set do not depend on decisions.
            NotFoundError: when the registry does not have the image.
        """
        md5, place = identify(self._tracer, self.registry.root, Path(file))
        holders, _ = self._tracer.holders(md5)
        nodes = [(self._lineage.nodes[held.output], held.file) for held in holders]
        found: dict[str, tuple[Dataset, dict[str, str]]] = {}
        for node, path in nodes:
            holding = self._dataset_of(node)
            if holding is not None and node.partition is not None:
                _, paths = found.setdefault(holding.path, (holding, {}))
                paths.setdefault(node.partition, path)
        wanted = self.registry.dataset(dataset) if dataset is not None else None
        if wanted is None and place is not None:
            wanted = self._dataset_of(self._lineage.nodes[place.output])
        if wanted is None:
            able = [d for d, _ in found.values() if d.decisions is not None]
            wanted = able[0] if len(able) == 1 else None
            if wanted is None and len(found) == 1:
                wanted = next(iter(found.values()))[0]
        if wanted is None:
            raise RefusedError(
                f"{file} is in {', '.join(found)}: choose one with --dataset"
                if found
                else f"{file} is in no data set: run `registry import` for its collection first"
            )
        if wanted.decisions is None:
            raise _no_decisions(wanted.path)
        paths = found.get(wanted.path, (wanted, {}))[1]
        if collection is not None:
            paths = {name: path for name, path in paths.items() if name == collection}
        if not paths:
            raise RefusedError(
                f"{file}: {wanted.path} does not have it"
                + (f" in {collection}" if collection else "")
                + f": `registry trace {file}` shows where it is",
            )
        return Subject(file, md5, wanted, paths)

    def _dataset_of(self, node: Node) -> Dataset | None:
        """The data set of an output; None if it has none that imports collections."""
        dataset = self.registry.dataset_of(node.path) if node.kind != "raw" else None
        return dataset if dataset is not None and dataset.inputs is not None else None

    def decide(
        self,
        subjects: Sequence[Subject],
        verdict: Verdict,
        *,
        by: str,
        why: str,
        date: str,
        only_here: bool = False,
        duplicate_of: str = "",
    ) -> list[Decided]:
        """Write decisions; all of them, or none if one is refused.

        Args:
            subjects: The images.
            verdict: Whether they are allowed or denied.
            by: Who decides.
            why: The reason.
            date: Today's date.
            only_here: Whether the decision applies only to the collections found; otherwise it is
                copied to new collections with the same image.
            duplicate_of: For denied duplicates, the image that is kept instead, as
                `COLLECTION/PATH`.

        Raises:
            RefusedError: when one is not a readable image, or the one to keep is none or denied.
            MetafileError: when a decisions file cannot be read.
        """
        done = []
        for dataset in {subject.dataset.path: subject.dataset for subject in subjects}.values():
            self._check_kept(dataset, duplicate_of)
        for subject in subjects:
            for collection, path in subject.paths.items():
                rows = self._rows(subject.dataset, collection)
                row = rows.get(subject.md5) or rows.get(path)
                if row is not None and not row.is_readable:
                    is_named = subject.file != subject.md5
                    name = subject.file if is_named else f"{collection}/{row.path}"
                    raise RefusedError(f"{name} {_why_not(row, verdict)}")
                if row is not None and duplicate_of == f"{collection}/{row.path}":
                    # The decision names one that goes.
                    same = (other for other in rows.values() if other.md5 == row.md5)
                    row = next((other for other in same if other.path != row.path), row)
                decision = Decision(
                    subject.md5,
                    verdict,
                    by,
                    why,
                    date,
                    row.path if row else path,
                    only_here,
                    duplicate_of,
                )
                file = subject.dataset.decisions_file(collection) or ""
                done.append(Decided(subject.dataset.path, collection, file, decision))
        for file in dict.fromkeys(item.file for item in done):
            parse_decisions(read_text(self.registry.root / file), file)
        for file in dict.fromkeys(item.file for item in done):
            place = self.registry.root / file
            with editing(place):
                decisions = [item.decision for item in done if item.file == file]
                write_whole(place, with_decisions(read_text(place), decisions, file))
        return done

    def _check_kept(self, dataset: Dataset, place: str) -> None:
        """Check that an image that is kept instead of others is one, and not denied itself.

        Raises:
            RefusedError: when it is none, or denied for another reason than being a duplicate.
        """
        if not place:
            return
        collection, _, path = place.partition("/")
        row = self._rows(dataset, collection).get(path)
        if row is None or not row.is_readable:
            raise RefusedError(
                f"{place} cannot be kept instead: {dataset.path} has no such readable image"
            )
        against = self._decision_against(dataset, place)
        if against is not None and not against.duplicate_of:
            raise RefusedError(
                f"{place} cannot be kept instead, as it is {against}: take that back first"
            )

    def _decision_against(self, dataset: Dataset, place: str) -> Decision | None:
        """The decision that leaves out an image, given as `COLLECTION/PATH`; None without one."""
        collection, _, path = place.partition("/")
        row = self._rows(dataset, collection).get(path)
        file = self.registry.root / (dataset.decisions_file(collection) or "")
        decision = read_decisions(file).get(row.md5) if row is not None else None
        is_denied = decision is not None and decision.verdict == "deny" and decision.is_about(path)
        return decision if is_denied else None

    def _bring_back(self, dataset: Dataset, place: str) -> dict[str, str]:
        """Withdraw that an image is a duplicate, as it is now kept instead of others.

        Returns:
            The file that was written, with its collection; empty if there was no such decision.
        """
        against = self._decision_against(dataset, place) if place else None
        if against is None:
            return {}
        collection = place.partition("/")[0]
        file = dataset.decisions_file(collection) or ""
        with editing(self.registry.root / file):
            text = read_text(self.registry.root / file)
            write_whole(self.registry.root / file, without_decisions(text, [against.md5], file))
        return {file: collection}

    def decide_about(
        self,
        files: Iterable[str],
        verdict: Verdict,
        *,
        by: str | None = None,
        why: str,
        dataset: str | None = None,
        collection: str | None = None,
        duplicate_of: str = "",
    ) -> Made:
        """Decide about images, and bring automatic decisions about their duplicates up to date.

        Args:
            files: The images, as for `find`.
            verdict: Whether they are allowed or denied.
            by: Who decides; by default, who Git says.
            why: The reason.
            dataset: The data set, as for `find`.
            collection: Only in this collection, as for `find`.
            duplicate_of: As for `decide`.

        Raises:
            RefusedError: as `find` and `decide`, or without a reason.
            NotFoundError: when the registry does not have one of the images.
            MetafileError: when a decisions file cannot be read.
            RegistryError: when Git does not say who decides.
        """
        if not why.strip():
            raise RefusedError("a decision needs a reason in words")
        subjects = [self.find(file, dataset=dataset, collection=collection) for file in files]
        done = self.decide(
            subjects,
            verdict,
            by=by or author_of(self.registry.root),
            why=why,
            date=today(),
            only_here=collection is not None or bool(duplicate_of),
            duplicate_of=duplicate_of,
        )
        written = {item.file: item.collection for item in done}
        changed: dict[str, LeftOut] = {}
        for concerned in {subject.dataset.path: subject.dataset for subject in subjects}.values():
            written |= self._bring_back(concerned, duplicate_of)
            found = self.reconsider(concerned, [item.image for item in done])
            changed |= found
            written |= {concerned.decisions_file(name) or "": name for name in found}
        return Made(done, changed, written)

    def find_decided(
        self, file: str, *, dataset: str | None = None, collection: str | None = None
    ) -> list[Decided]:
        """Find the decisions about an image, even if no data set has it any more.

        Args:
            file: As for `find`, or `COLLECTION/PATH`.
            dataset: Search only this data set.
            collection: Search only this collection.

        Raises:
            NotFoundError: when there is no such image.
            MetafileError: when a decisions file cannot be read.
        """
        datasets = None if dataset is None else [self.registry.dataset(dataset)]
        decided = list(find_decided(self.registry, datasets))
        found = [item for item in decided if file in (item.image, item.decision.md5)]
        if not found:
            md5, _ = identify(self._tracer, self.registry.root, Path(file))
            found = [item for item in decided if item.decision.md5 == md5]
        return [item for item in found if collection in (None, item.collection)]

    def withdraw(
        self, files: Iterable[str], *, dataset: str | None = None, collection: str | None = None
    ) -> list[Decided]:
        """Remove decisions, so that the thresholds apply again.

        Args:
            files: Images, as for `find_decided`.
            dataset: Only in this data set.
            collection: Only in this collection.

        Raises:
            RefusedError: when there is no decision about one of the images.
            MetafileError: when a decisions file cannot be edited.
        """
        done = []
        for file in files:
            found = self.find_decided(file, dataset=dataset, collection=collection)
            if not found:
                raise RefusedError(
                    f"there is no decision about {file}: `registry decisions` lists all"
                )
            done += found
        for item in done:
            place = self.registry.root / item.file
            with editing(place):
                text = read_text(place)
                write_whole(place, without_decisions(text, [item.decision.md5], item.file))
        return done

    def leave_out(
        self, dataset: Dataset, *, distance: int | None = None, anew: bool = False
    ) -> dict[str, LeftOut]:
        """Leave out all but the first copy of each picture in a data set.

        A picture that was left out in favour of one that is gone is kept again.

        Args:
            dataset: The data set.
            distance: Maximum Hamming distance of perceptual hashes; None for identical content
                only.
            anew: Whether to check only images that were left out before.

        Returns:
            The changes by collection.

        Raises:
            RefusedError: when the stages of the data set do not depend on decisions.
        """
        if dataset.decisions is None:
            raise _no_decisions(dataset.path)
        names = collections_of(self._lineage, dataset)
        tables = self._tables(dataset)
        brightness = BrightnessRange.from_file(self.registry.root / dataset.path / PARAMETERS)
        changed = {}
        for number, name in enumerate(names):
            if name in tables:
                file = self.registry.root / dataset.decisions / f"{name}.yaml"
                left = leave_out_duplicates(
                    file,
                    tables,
                    names,
                    names[:number],
                    distance=distance,
                    brightness=brightness,
                    anew=anew,
                )
                if left.added or left.dropped:
                    changed[name] = left
        return changed

    def find_unmeasured(self, dataset: Dataset) -> list[str]:
        """The collections of a data set without a table of measurements on this machine."""
        tables = self._tables(dataset)
        return [name for name in collections_of(self._lineage, dataset) if name not in tables]

    def _tables(self, dataset: Dataset) -> Mapping[str, Path]:
        found = find_tables(self._lineage, self._listings, dataset.path)
        return {name: table for name, table in found if is_table(table)}

    def reconsider(self, dataset: Dataset, gone: Iterable[str]) -> dict[str, LeftOut]:
        """Check those again that were left out in favour of images that are gone.

        What nobody left out before stays: that there are copies of it is no question here.

        Args:
            dataset: The data set.
            gone: Removed images, as `COLLECTION/PATH`, or whole collections, as `COLLECTION/`.

        Returns:
            The changes by collection.
        """
        places = tuple(gone)
        decided = (item.decision for item in find_decided(self.registry, [dataset]))
        if not any(decision.duplicate_of.startswith(places) for decision in decided):
            return {}
        return self.leave_out(dataset, anew=True)

    def _read_rows(self, dataset: Dataset, collection: str) -> Mapping[str, Measurement]:
        """The rows of a collection's table, by path and by md5, which files without image lack.

        Empty if the collection was not measured yet.
        """
        table = self._tables(dataset).get(collection)
        rows = [*read_measurements(table)] if table is not None else []
        return {**{row.path: row for row in rows}, **{row.md5: row for row in reversed(rows)}}


def _why_not(row: Measurement, verdict: Verdict) -> str:
    if row.reason.startswith("video"):
        return f"is a video ({row.reason}): name single frames of it"
    if verdict == "deny":
        return f"is left out anyway: {row.reason}"
    return (
        f"cannot be allowed, because it is not a readable image ({row.reason}): repair the file "
        "and add it to the collection"
    )


def author_of(root: Path) -> str:
    """The author name configured in Git.

    Raises:
        RegistryError: when none is configured.
    """
    return DvcRepo(root).git.author()


def _no_decisions(dataset: str) -> RefusedError:
    return RefusedError(
        f"no stage of {dataset} depends on decisions/${{item}}.yaml: declare it in its dvc.yaml, "
        "as in the data set that `registry init` creates"
    )


def materialize_command(collections: Iterable[str | None]) -> str:
    """The command that brings everything of some collections up to date; of all, with None."""
    names = dict.fromkeys(collections)
    if None in names:
        return "registry materialize"
    return " ".join(["registry materialize", *(f"--collection {quote(n)}" for n in names if n)])


def find_stale(lineage: Lineage, files: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """The assets, with partition, that changes of some files made stale.

    Args:
        lineage: The graph, read after the files were written.
        files: The files, from the root: decisions, or files of parameters.
    """
    for output in read_recorded_status(lineage):
        stage = lineage.registry.stage_of.get(output.path)
        read = set()
        if stage is not None:
            read = {d.path for d in stage.dependencies} | {p.file for p in stage.parameters}
        if output.state == "stale" and not read.isdisjoint(files):
            yield output.asset, output.partition
