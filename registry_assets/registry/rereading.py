"""Reads what changed since the last reading, where that surely gives what reading all would give.

With a thousand collections, DVC takes seconds to read all. The changes that are read alone are
those of every day:

* ``.dvc`` files of collections and imports from this repository, in folders that have others;
* entries of a ``dvc.lock``;
* names in the ``collections.yaml`` of a data set, of which its pipeline makes stages by `foreach`;
* ``.gitignore`` files that ignore outputs only, as DVC writes them.

After any other change, or if new outputs might overlap with others or close a cycle, all is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

from registry_assets.bounded import read_text
from registry_assets.dvc_repo import Declarations, DvcRepo, Places
from registry_assets.model import (
    DVC_SUFFIX,
    LOCK_FILE,
    PIPELINE_FILE,
    Dataset,
    ImportedInput,
    Stage,
    StageTemplate,
    Tracked,
)
from registry_assets.registry.last_reading import LastReading, digest_entries

_IGNORE_FILE = ".gitignore"
# A list may only say what `foreach` goes through.
_MENTIONED = re.compile(r"\$\{[^}]*\bcollections\b")
_GONE_THROUGH = re.compile(r"^ +foreach: \$\{collections\}$", re.MULTILINE)
# With another working directory, a stage may read the list of another data set.
_OTHER_LIST = re.compile(r"/collections\.yaml\b|\bwdir\b")


class _UnsureError(Exception):
    """Reading what changed might not give what reading all would give."""


def read_changes(dvc: DvcRepo, last: LastReading) -> Declarations | None:
    """What the metafiles declare now; None if all have to be read to know it.

    Args:
        dvc: The repository.
        last: The last reading, and what was written since.
    """
    try:
        return _Rereading(dvc, last).read()
    except Exception:
        # An invalid metafile, or one that was removed meanwhile: reading all says what is wrong.
        return None


class _Rereading:
    def __init__(self, dvc: DvcRepo, last: LastReading) -> None:
        self._dvc, self._last = dvc, last
        self._registry = last.registry

    def read(self) -> Declarations:
        pointers, stages, lists, ignore_files = self._sort_changes()
        declared = self._dvc.read_addresses([*pointers, *stages])
        tracked = self._read_tracked(pointers, (*declared.raw, *declared.inputs))
        known = {stage.address: stage for stage in self._registry.stages}
        again = {stage.address: stage for stage in declared.stages}
        if again.keys() != set(stages):
            raise _UnsureError
        all_stages, templates = self._read_lists(lists, known | again)
        self._check_new(pointers, tracked, [s for s in all_stages if s.address not in known], known)
        now = Declarations(
            raw=tuple(item for item in tracked if not isinstance(item, ImportedInput)),
            inputs=tuple(item for item in tracked if isinstance(item, ImportedInput)),
            stages=all_stages,
            templates=templates,
            pipeline_files=tuple(sorted(self._pipelines.values())),
            problems=(),
            variable_files=self._registry.variable_files,
        )
        self._check_ignored(ignore_files, now)
        return now

    def _sort_changes(self) -> tuple[list[str], list[str], list[Dataset], list[str]]:
        """The ``.dvc`` files, stages, data sets and ignore files that changed."""
        registry = self._registry
        lists = {d.collections_file: d for d in registry.datasets if d.collections_file}
        pointers, stages, datasets, ignore_files = [], [], [], []
        for path in sorted(self._last.changed):
            folder, _, name = path.rpartition("/")
            data = path.removesuffix(DVC_SUFFIX)
            is_pointer = name.endswith(DVC_SUFFIX) and registry.settings.is_collection(data)
            if is_pointer and folder in registry.family_folders:
                pointers.append(path)
            elif name == LOCK_FILE and path in self._last.entries:
                stages += self._changed_stages(path)
            elif path in lists:
                datasets.append(lists[path])
            elif name == _IGNORE_FILE:
                ignore_files.append(path)
            else:
                raise _UnsureError
        return pointers, stages, datasets, ignore_files

    def _changed_stages(self, path: str) -> list[str]:
        """The stages whose entries in a ``dvc.lock`` changed, by address."""
        before = self._last.entries[path]
        now = digest_entries(self._registry.root / path)
        if now is None:
            raise _UnsureError
        names = {name for name in {*now, *before} if now.get(name) != before.get(name)}
        pipeline = f"{path.removesuffix(LOCK_FILE)}{PIPELINE_FILE}"
        changed = [
            stage
            for stage in self._registry.stages
            if stage.file == pipeline and stage.address.removeprefix(f"{pipeline}:") in names
        ]
        # The version of a run is not in an entry of its own.
        if any(output.is_run for stage in changed for output in stage.outputs):
            raise _UnsureError
        return [stage.address for stage in changed]

    # --- .dvc files ----------------------------------------------------------------------------

    def _read_tracked(
        self, pointers: Collection[str], declared: Sequence[Tracked]
    ) -> list[Tracked]:
        """Everything that ``.dvc`` files declare now."""
        there = {path for path in pointers if path in self._last.metafiles}
        if sorted(item.metafile for item in declared) != sorted(there):
            raise _UnsureError
        kept = [item for item in self._registry.tracked if item.metafile not in pointers]
        folders = {_folder(item.output.path) for item in kept}
        sources = {item.output.path for item in (*kept, *declared)}
        for item in declared:
            is_in_place = f"{item.output.path}{DVC_SUFFIX}" == item.metafile
            # In a folder without others, the folder itself might be what is wrong.
            if not is_in_place or _folder(item.output.path) not in folders:
                raise _UnsureError
            if isinstance(item, ImportedInput) and (
                item.repository is not None
                or item.source.is_external
                or item.source.path not in sources
            ):
                raise _UnsureError
        # A family folder is one as long as it has members.
        if {_folder(path) for path in pointers if path not in there} - folders:
            raise _UnsureError
        return sorted((*kept, *declared), key=lambda item: item.output.path)

    # --- lists of collections ------------------------------------------------------------------

    def _read_lists(
        self, datasets: Iterable[Dataset], stages: Mapping[str, Stage]
    ) -> tuple[tuple[Stage, ...], tuple[StageTemplate, ...]]:
        """All stages and templates, after some lists changed."""
        by_file = {
            file: list(members)
            for file, members in groupby(stages.values(), key=lambda stage: stage.file)
        }
        templates = list(self._registry.templates)
        for dataset in datasets:
            path, pipeline = dataset.collections_file or "", self._pipelines[dataset.path]
            if path not in self._registry.variable_files:
                # DVC does not read it.
                continue
            self._check_list(path, pipeline)
            known = {stage.address: stage for stage in by_file[pipeline]}
            by_file[pipeline], items = self._dvc.read_items(pipeline, known)
            for number, template in enumerate(templates):
                if template.stage.file == pipeline:
                    templates[number] = replace(template, items=items[template.stage.name])
            grown = {stage.name for stage in by_file[pipeline] if stage.address not in known}
            if not grown <= {stage.name for stage in known.values()}:
                raise _UnsureError
        return tuple(stage for members in by_file.values() for stage in members), tuple(templates)

    def _check_list(self, path: str, pipeline: str) -> None:
        """Checks that a list of collections decides which stages there are, and nothing else."""
        if path not in self._last.entries or digest_entries(self._registry.root / path) is None:
            raise _UnsureError
        every = (*self._registry.stages, *(t.stage for t in self._registry.templates))
        named = {parameter.file for stage in every for parameter in stage.parameters}
        named |= {dependency.path for stage in every for dependency in stage.dependencies}
        texts = {file: read_text(self._registry.root / file) for file in self._pipelines.values()}
        own = texts[pipeline]
        if (
            path in named
            or any(map(_OTHER_LIST.search, texts.values()))
            or len(_MENTIONED.findall(own)) != len(_GONE_THROUGH.findall(own))
        ):
            raise _UnsureError

    @cached_property
    def _pipelines(self) -> Mapping[str, str]:
        """The ``dvc.yaml`` of each data set, by its path."""
        paths = [dataset.path for dataset in self._registry.datasets]
        return {path: f"{path}/{PIPELINE_FILE}" if path else PIPELINE_FILE for path in paths}

    # --- checks --------------------------------------------------------------------------------

    def _check_new(
        self,
        pointers: Collection[str],
        tracked: Sequence[Tracked],
        new_stages: Sequence[Stage],
        known: Mapping[str, Stage],
    ) -> None:
        """Checks that new outputs overlap with no others, and that no known stage reads them."""
        before = {item.metafile for item in self._registry.tracked}
        added = [i for i in tracked if i.metafile in pointers and i.metafile not in before]
        reasons = self._dvc.why_unseen([item.metafile for item in added])
        if any(reason is not None for reason in reasons.values()):
            raise _UnsureError
        made = [output for stage in new_stages for output in stage.outputs]
        if any(output.is_run for output in made):
            raise _UnsureError
        if {_folder(output.path) for output in made} - set(map(_folder, self._registry.outputs)):
            raise _UnsureError
        fresh = [item.output.path for item in added] + [output.path for output in made]
        places = Places(self._place(path) for path in self._registry.outputs)
        for path in fresh:
            if places.overlap(self._place(path)):
                raise _UnsureError
            places.add([self._place(path)])
        of_stages = Places(self._place(output.path) for output in made)
        read = {dependency.path for stage in known.values() for dependency in stage.dependencies}
        if any(of_stages.overlap(self._place(path)) for path in read):
            raise _UnsureError

    def _place(self, path: str) -> str:
        return f"{self._registry.root}/{path}"

    def _check_ignored(self, ignore_files: Collection[str], now: Declarations) -> None:
        """Checks that changed ``.gitignore`` files, as they were and are, ignore outputs only."""
        if not ignore_files:
            return
        tracked: tuple[Tracked, ...] = (*now.raw, *now.inputs)
        outputs = {item.output.path for item in tracked}
        outputs |= {output.path for stage in now.stages for output in stage.outputs}
        known = {item.metafile for item in tracked} | {*now.pipeline_files}
        known |= {f"{file.removesuffix(PIPELINE_FILE)}{LOCK_FILE}" for file in now.pipeline_files}
        if not self._last.metafiles <= known:
            raise _UnsureError
        for path in ignore_files:
            folder = path.removesuffix(_IGNORE_FILE)
            if any(f"{unseen}/".startswith(folder) for unseen in self._last.unseen):
                raise _UnsureError
            for line in _lines(self._registry.root / path):
                if not line.startswith("/") or f"{folder}{line[1:]}" not in outputs:
                    raise _UnsureError


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _lines(file: Path) -> Iterator[str]:
    return (line for line in read_text(file).splitlines() if line) if file.exists() else iter(())
