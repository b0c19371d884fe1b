"""A guest in somebody's process: importing and constructing changes nothing that is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run

ROOT = Path(__file__).parents[1]

USE = """
import importlib, json, pkgutil, sys
from pathlib import Path

root = Path(sys.argv[1])

def use_all():
    import registry_assets
    for found in pkgutil.walk_packages(registry_assets.__path__, "registry_assets."):
        if found.name not in ("registry_assets.definitions", "registry_assets.merge_driver"):
            importlib.import_module(found.name)
    from registry_assets import images
    from registry_assets.dvc_repo import DvcRepo, StageTask
    from registry_assets.orchestration.building import build_definitions
    from registry_assets.orchestration.component import DvcRegistryComponent
    from registry_assets.orchestration.history.opening import open_history
    from registry_assets.orchestration.io_manager import DvcIOManager
    from registry_assets.provenance.models.links import ModelLinks, is_installed
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.registry.reading import read_registry
    from registry_assets.registry.status.reading import read_status

    dvc = DvcRepo(root)
    lineage = build_lineage(read_registry(root, dvc))
    read_status(lineage, dvc)
    build_definitions(root).get_repository_def()
    DvcIOManager(root=str(root))
    DvcRegistryComponent(root=str(root))
    with open_history(root):
        pass
    samples = sorted(Path(sys.argv[2]).rglob("*.jpg"))[:2]
    assert len(samples) == 2 and all(images.measure_file(sample).md5 for sample in samples)
    assert images.decode_image(samples[0].read_bytes())
    if is_installed():
        ModelLinks("http://127.0.0.1:9")
"""
THEIRS = (
    USE
    + """
use_all()
print(json.dumps(sorted(
    name
    for name, module in sys.modules.items()
    if getattr(module, "__file__", None) and "site-packages" in module.__file__
    and not name.startswith("registry_assets")
)))
"""
)
COMPARE = (
    USE
    + """
import gc, locale, logging, os, signal, tempfile, warnings

def mask():
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "made")
        place.touch()
        return oct(place.stat().st_mode & 0o777)

def state():
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem
    from PIL import Image, ImageFile
    found = {
        "root logger": logging.root,
        **{
            f"logger {name}": logger
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        },
    }
    found = {
        name: repr((one.level, one.handlers, one.filters, one.propagate, one.disabled))
        for name, one in found.items()
    }
    unset = repr((logging.NOTSET, [], [], True, False))
    # A logger that was only asked for is as any other.
    found = {name: value for name, value in found.items() if value != unset}
    return {
        **found,
        "logging": (logging.root.manager.disable, logging.getLoggerClass().__name__),
        "streams": (sys.stdout is out, sys.stderr is err),
        "environment": dict(os.environ),
        "collector": (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()),
        "umask": mask(),
        "warnings": repr(warnings.filters),
        "signals": repr([signal.getsignal(number) for number in signal.valid_signals()]),
        "memory": (sorted(MemoryFileSystem.store), list(MemoryFileSystem.pseudo_dirs)),
        "fsspec": (sorted(fsspec.registry), fsspec.config.conf),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "path": list(sys.path),
        "hooks": repr((sys.excepthook, sys.meta_path, sys.path_hooks)),
        "folder": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
    }

# Those of others may set what they like when they come in: what is left is ours.
for name in json.loads(sys.argv[3]):
    try:
        importlib.import_module(name)
    except Exception:
        pass
import fsspec
fsspec.filesystem("memory").pipe_file("/theirs/note.txt", b"a note")
out, err = sys.stdout, sys.stderr
before = state()
use_all()
after = state()
print(json.dumps({
    key: (str(before.get(key)), str(after.get(key)))
    for key in {*before, *after}
    if before.get(key) != after.get(key)
}))
"""
)
# What `import dvc` alone does to a process, seen from ours that imports it.
FIRST = """
import importlib, json, logging, sys
names = ("dvc", "dvc_objects", "dvc_data", "asyncio", "aiohttp")
loggers = [logging.getLogger(name) for name in names]
loggers[-1].setLevel(logging.DEBUG)
loggers[-2].addHandler(logging.NullHandler())
def state():
    return [repr((one.level, one.handlers)) for one in loggers]
before, streams = state(), (sys.stdout, sys.stderr)
importlib.import_module(sys.argv[1])
import registry_assets.dvc_repo as package
package.DvcRepo
assert "dvc" in sys.modules
assert state() == before, (before, state())
assert (sys.stdout, sys.stderr) == streams
"""
DIRECTLY = "registry_assets.dvc_repo."


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_is_left_as_it_was(text_registry: Path) -> None:
    # With what a process of ours would answer to.
    run(text_registry, "git", "config", "core.sharedRepository", "group")
    arguments = (str(text_registry), str(ROOT / "samples"))
    theirs = _python(THEIRS, *arguments).splitlines()[-1]
    assert {"dagster", "dvc", "fsspec", "PIL"} <= set(json.loads(theirs))
    found = json.loads(_python(COMPARE, *arguments, theirs).splitlines()[-1])
    assert found == {}


def _entrances() -> list[str]:
    """The modules that import one of `dvc_repo` past the package."""
    package = ROOT / "registry_assets"
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(package.rglob("*.py"))
        if "dvc_repo" not in path.parts and DIRECTLY in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("module", ["registry_assets.dvc_repo", *_entrances()])
def test_loggers_and_streams_of_others_outlast_the_import_of_dvc(module: str) -> None:
    _python(FIRST, module)


def test_a_process_that_had_dvc_before_keeps_what_dvc_set_up() -> None:
    said = _python(
        "import dvc, logging; before = logging.getLogger('dvc').handlers[:]\n"
        "from registry_assets.dvc_repo import DvcRepo\n"
        "print(bool(before), logging.getLogger('dvc').handlers == before)"
    )
    assert said.split() == ["True", "True"]


def test_what_is_said_to_come_without_dvc_does() -> None:
    _python(
        "import importlib, sys\n"
        "from registry_assets import dvc_repo\n"
        "for place in dvc_repo._WITHOUT_DVC:\n"
        "    importlib.import_module(f'registry_assets.dvc_repo.{place}')\n"
        "assert 'dvc' not in sys.modules"
    )
