"""Random repositories, edited at random through Dagster, `dvc` and `git`: every view agrees.

A seed makes one repository and one walk. A failure prints the steps that led to it; more seeds:
`REGISTRY_SEEDS=100-140 python -m pytest tests/test_random_edits.py`.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dvc.repo import Repo

from registry_assets import Lineage, build_definitions
from registry_assets.dvc_repo import DvcRepo
from registry_assets.making.planning import only_stale, plan_units
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.comparison import compare
from registry_assets.orchestration.history.event_log import of_node, read_seen
from registry_assets.orchestration.history.reporting import sync
from registry_assets.provenance.finding import trace_file
from registry_assets.registry.status import reading
from registry_assets.registry.status.check_results import check_recorded_status, check_status
from registry_assets.registry.status.imports import choose_imports, compare_imports
from registry_assets.registry.status.reading import read_recorded_status, read_status
from tests.conftest import commit_all, lineage_of, run, seeds, write_tree
from tests.edits import ask, is_read_alone
from tests.runs import PlannedRun, define_assets, execute, runs_of

STEPS = 9
DATASET = "processed/texts"
SCRIPT = """\
import pathlib, sys
*sources, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for source in sources:
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        (target / f"{source.parent.name}-{path.name}").write_text(path.read_text() + "+\\n")
"""


class Walk:
    """One repository, the history of its Dagster instance, and chance."""

    def __init__(self, root: Path, instance: DagsterInstance, seed: int) -> None:
        self.root = root
        self.instance = instance
        self.random = random.Random(seed)
        self.steps: list[str] = []
        self.count = 0
        self.branches = ["main"]
        self._declare()
        commit_all(root, "Start")

    # --- the repository ------------------------------------------------------------------------

    def _declare(self) -> None:
        """Two to four stages for each collection, each of some of what is there, and a summary."""
        self.stages = [f"stage_{number}" for number in range(self.random.randint(2, 4))]
        sources = ["data/inputs"]
        text = "vars:\n  - collections.yaml\nstages:\n"
        for name in self.stages:
            read = self.random.sample(sources, self.random.randint(1, min(2, len(sources))))
            out = f"data/{name}"
            paths = " ".join(f"{folder}/${{item}}" for folder in (*read, out))
            text += f"  {name}:\n    foreach: ${{collections}}\n    do:\n"
            text += f"      cmd: python {name}.py {paths}\n      deps:\n        - {name}.py\n"
            text += "".join(f"        - {folder}/${{item}}\n" for folder in read)
            if self.random.random() < 0.7:
                text += f"      params:\n        - {name}\n"
            text += f"      outs:\n        - {out}/${{item}}\n"
            write_tree(self.root, {f"{DATASET}/{name}.py": SCRIPT})
            sources.append(out)
        if self.random.random() < 0.5:
            text += f"  summary:\n    cmd: ls -R {sources[-1]} > summary.txt\n"
            text += f"    deps: [{sources[-1]}]\n    outs: [summary.txt]\n"
        params = "".join(f"{name}: 1\n" for name in self.stages)
        write_tree(
            self.root,
            {
                f"{DATASET}/dvc.yaml": text,
                f"{DATASET}/params.yaml": params,
                f"{DATASET}/collections.yaml": "collections: []\n",
                f"{DATASET}/{sources[-1]}/.gitkeep": "",
            },
        )

    def dvc(self, *arguments: str, at: str = "") -> None:
        run(self.root / at, "dvc", arguments[0], "--quiet", *arguments[1:])

    def tracked(self, folder: str) -> list[str]:
        return sorted(path.stem for path in (self.root / folder).glob("*.dvc"))

    def pick(self, names: list[str]) -> str | None:
        return self.random.choice(names) if names else None

    # --- steps: each returns what it did, or None when there was nothing to do it to -----------

    def shoot(self) -> str:
        self.count += 1
        name = f"{self.count:02}_c"
        files = {f"{n}.txt": f"{name} {n}\n" for n in range(self.random.randint(1, 3))}
        write_tree(self.root / "raw" / name, files)
        return self._record_raw(name)

    def _record_raw(self, name: str) -> str:
        if self.random.random() < 0.5:
            self.dvc("add", f"raw/{name}")
            return f"dvc add {name}"
        self._materialize_one("raw", name)
        return f"materialize raw {name}"

    def take_in(self) -> str | None:
        inputs = f"{DATASET}/data/inputs"
        name = self.pick([n for n in self.tracked("raw") if n not in self.tracked(inputs)])
        if name is None:
            return None
        if self.random.random() < 0.5:
            self._materialize_one(inputs, name)
            return f"materialize inputs {name}"
        (self.root / inputs).mkdir(exist_ok=True, parents=True)
        self.dvc("import-url", f"../../../../raw/{name}", name, at=inputs)
        place = self.root / DATASET / "collections.yaml"
        listed = place.read_text().replace("collections: []\n", "collections:\n")
        place.write_text(f'{listed}  - "{name}"\n')
        return f"dvc import-url {name}"

    def edit_raw(self) -> str | None:
        name = self.pick([n for n in self.tracked("raw") if (self.root / "raw" / n).exists()])
        if name is None:
            return None
        self.count += 1
        write_tree(self.root, {f"raw/{name}/more_{self.count}.txt": f"{self.count}\n"})
        if self.random.random() < 0.3:
            return f"edit {name}, not recorded"
        return f"edit {name}, {self._record_raw(name)}"

    def move_on(self) -> str | None:
        inputs = f"{DATASET}/data/inputs"
        name = self.pick(self.tracked(inputs))
        if name is None:
            return None
        if self.random.random() < 0.5:
            self._materialize_one(inputs, name)
            return f"materialize inputs {name} again"
        self.dvc("update", f"{inputs}/{name}.dvc")
        return f"dvc update {name}"

    def change_code(self) -> str:
        name = self.random.choice(self.stages)
        self.count += 1
        kind = self.random.choice(["parameter", "script", "command"])
        if kind == "parameter":
            place = self.root / DATASET / "params.yaml"
            lines = place.read_text().splitlines()
            lines = [f"{name}: {self.count}" if x.startswith(f"{name}:") else x for x in lines]
            place.write_text("\n".join(lines) + "\n")
        elif kind == "script":
            with (self.root / DATASET / f"{name}.py").open("a") as script:
                script.write(f"# {self.count}\n")
        else:
            place = self.root / DATASET / "dvc.yaml"
            place.write_text(place.read_text().replace(f"python {name}.py", f"python  {name}.py"))
        return f"change the {kind} of {name}"

    def _restore_inputs(self) -> None:
        """`dvc repro` stops at an import that is not in the workspace."""
        inputs = f"{DATASET}/data/inputs"
        for name in self.tracked(inputs):
            if not (self.root / inputs / name).exists():
                self.dvc("checkout", f"{inputs}/{name}.dvc")

    def repro(self) -> str:
        self._restore_inputs()
        self.dvc("repro", f"{DATASET}/dvc.yaml")
        return "dvc repro"

    def repro_one(self) -> str | None:
        item = self.pick(self.tracked(f"{DATASET}/data/inputs"))
        if item is None:
            return None
        name = f"{self.stages[0]}@{item}"
        self._restore_inputs()
        self.dvc("repro", "--single-item", f"{DATASET}/dvc.yaml:{name}")
        return f"dvc repro --single-item {name}"

    def materialize(self) -> str:
        lineage = lineage_of(self.root)
        units = plan_units(lineage, select_keys(lineage, None))
        for planned in runs_of(lineage, only_stale(units, lineage, read_status(lineage))):
            self._execute(lineage, planned)
        return "materialize"

    def _materialize_one(self, key: str, partition: str) -> None:
        planned = PlannedRun((tuple(key.split("/")),), partition, "collections")
        self._execute(lineage_of(self.root), planned)

    def _execute(self, lineage: Lineage, planned: PlannedRun) -> None:
        result = execute(define_assets(lineage), self.instance, planned, force=False, tags={})
        assert result.failures == ()

    def lose_output(self) -> str | None:
        paths = [o for o in lineage_of(self.root).registry.outputs if (self.root / o).exists()]
        path = self.pick(sorted(path for path in paths if not path.startswith("raw/")))
        if path is None:
            return None
        place = self.root / path
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
        return f"rm -r {path}"

    def take_out(self) -> str | None:
        inputs = f"{DATASET}/data/inputs"
        name = self.pick(self.tracked(inputs))
        if name is None:
            return None
        self.dvc("remove", "--outs", f"{inputs}/{name}.dvc")
        place = self.root / DATASET / "collections.yaml"
        listed = place.read_text().replace(f'  - "{name}"\n', "")
        place.write_text(listed if '"' in listed else "collections: []\n")
        return f"dvc remove {name}"

    def branch(self) -> str:
        commit_all(self.root, f"Step {len(self.steps)}")
        if len(self.branches) > 1 and self.random.random() < 0.6:
            branch = self.random.choice(self.branches)
            run(self.root, "git", "checkout", "--quiet", branch)
            # What no branch has recorded would stand in the way.
            self.dvc("checkout", "--force")
            return f"git checkout {branch} && dvc checkout"
        branch = f"branch_{len(self.branches)}"
        run(self.root, "git", "checkout", "--quiet", "-b", branch)
        self.branches.append(branch)
        return f"git checkout -b {branch}"

    def step(self) -> None:
        steps: list[Callable[[], str | None]] = [
            *(self.shoot, self.take_in, self.take_in, self.edit_raw, self.move_on),
            *(self.change_code, self.repro, self.repro_one, self.materialize),
            *(self.lose_output, self.take_out, self.branch),
        ]
        done = None
        while done is None:
            chosen = self.random.choice(steps) if len(self.steps) > 1 else self.shoot
            done = chosen()
        self.steps.append(done)

    # --- what has to agree ---------------------------------------------------------------------

    def check(self) -> None:
        is_read_alone(self.root)
        lineage = lineage_of(self.root)
        assert lineage.registry.problems == ()
        self._check_status(lineage)
        sync(lineage, self.instance, lambda _line: None)
        found = compare(lineage, build_definitions(self.root), self.instance)
        assert found.differences == ()
        self._check_versions(lineage)
        self._check_staleness(lineage)
        self._check_imports(lineage)
        self._check_trace(lineage)
        again: list[str] = []
        assert sync(lineage, self.instance, again.append).reported == 0, again

    def _check_status(self, lineage: Lineage) -> None:
        """`registry status` is `dvc status`; where the workspace is clean, so are the metafiles."""
        status = read_status(lineage)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "_MOST_LOADED_ALONE", 1)
            assert ask(self.root) == status
        changed = {
            lineage.nodes[output.path].address
            for output in status.outputs
            if output.state not in ("up_to_date", "behind")
        }
        changed |= {f"{i.path}.dvc" for i in status.raw if i.state in ("modified", "missing")}
        with pytest.MonkeyPatch.context() as patch, Repo(str(self.root)) as repo:
            patch.chdir(self.root)  # DVC names stages relative to the working directory
            assert changed == set(repo.status())
        is_clean = not any(output.state == "missing" for output in status.outputs)
        is_clean &= all(item.state == "tracked" for item in status.raw if item.state != "new")
        if is_clean:
            recorded = {o.path: o for o in read_recorded_status(lineage) if o.path in lineage.nodes}
            for output in status.outputs:
                if not output.path.endswith("summary.txt"):
                    assert recorded[output.path].state == output.state, output
            keys = [key for key in lineage.output_of if key[-1] != "summary.txt"]
            by_metafiles = check_recorded_status(lineage, keys)
            by_workspace = check_status(lineage, keys)
            assert {k: v.passed for k, v in by_metafiles.items()} == {
                k: v.passed for k, v in by_workspace.items()
            }

    def _check_versions(self, lineage: Lineage) -> None:
        """Dagster's data version of every output is the md5 of its metafile."""
        seen = read_seen(lineage, self.instance)
        for node in lineage.nodes.values():
            asset = of_node(node)
            if asset is not None and node.version is not None:
                assert seen[asset].version == node.version.md5

    def _check_staleness(self, lineage: Lineage) -> None:
        """Dagster's own staleness is that of the metafiles, for whole outputs."""
        resolver = CachingStaleStatusResolver(
            self.instance,
            build_definitions(self.root).resolve_asset_graph(),
            LoadingContextForTest(self.instance),
        )
        for output in read_recorded_status(lineage):
            node = lineage.nodes[output.path]
            if output.state == "never_run" or output.path.endswith("summary.txt"):
                continue
            found = resolver.get_status(AssetKey(list(node.key or ())), node.partition)
            wanted = output.state == "up_to_date"
            assert (found == StaleStatus.FRESH) == wanted, (output, found)

    def _check_imports(self, lineage: Lineage) -> None:
        """`registry update --check` and `registry status` call the same imports behind."""
        imports = choose_imports(lineage.registry, ())
        states = {state.path: state.state for state in compare_imports(lineage.registry, imports)}
        behind = {o.path for o in read_recorded_status(lineage) if o.state == "behind"}
        assert {path for path, state in states.items() if state == "behind"} == behind
        assert {state for path, state in states.items() if path not in behind} <= {"current"}

    def _check_trace(self, lineage: Lineage) -> None:
        """A file that was taken in leads back to the raw file of the same content."""
        listings = DvcRepo(self.root).listings()
        for imported in lineage.registry.inputs:
            raw = lineage.registry.outputs[imported.source.path].version
            taken = imported.output.version
            assert raw is not None
            assert taken is not None
            here, there = listings.read(taken.md5), listings.read(raw.md5)
            assert here is not None
            assert there is not None
            file = self.random.choice(sorted(here))
            (chain,) = trace_file(lineage, self.root / imported.output.path / file).chains
            places = [step.place.path for step in chain.steps]
            assert places[0] == f"{imported.output.path}/{file}"
            if here[file] in there.values():
                assert places[1:] == [f"{imported.source.path}/{file}"]
                assert chain.collection == imported.name


@pytest.fixture
def empty_registry(_text_registry: Path, tmp_path: Path) -> Path:
    root = tmp_path / "registry"
    shutil.copytree(_text_registry, root, symlinks=True)
    shutil.rmtree(root / "processed")
    return root


@pytest.fixture
def walk(
    empty_registry: Path, instance: DagsterInstance, request: pytest.FixtureRequest
) -> Iterator[Walk]:
    made = Walk(empty_registry, instance, request.param)
    yield made
    print("\n".join(made.steps))


@pytest.mark.parametrize("walk", seeds("1-2"), indirect=True)
def test_every_view_agrees_after_every_step(walk: Walk) -> None:
    for _ in range(STEPS):
        walk.step()
        walk.check()
