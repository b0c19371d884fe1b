"""What could not be had again stays in the cache: whatever nothing is known about."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo, build_listing, hash_listing
from registry_assets.errors import RefusedError
from registry_assets.model import Registry, Version
from registry_assets.retention.disk_use import DiskUse, free, read_disk_use
from registry_assets.retention.originals import find_originals
from registry_assets.revisions.changes.version_history import Recorded
from registry_assets.units import count_of, format_size
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import INPUTS, RAW, UPPER, materialize
from tests.retention.conftest import DATASET, call
from tests.retention.test_purging import cached

MADE = hashlib.md5(b"LOST\n\n").hexdigest()
LOST = hashlib.md5(b"lost\n").hexdigest()


def use_of(root: Path) -> DiskUse:
    return read_disk_use(lineage_of(root), DvcRepo(root))


def free_all(root: Path) -> None:
    free(lineage_of(root), DvcRepo(root), use_of(root), print)


def replace_uncommitted(root: Path, file: str = "lost.txt") -> None:
    """Registers a collection with a file more, has it processed, and registers it without."""
    write_tree(root, {f"raw/01_a/{file}": "lost\n"})
    for key in (RAW, INPUTS, UPPER):
        materialize(root, key, "01_a")
    (root / f"raw/01_a/{file}").unlink()
    for key in (RAW, INPUTS, UPPER):
        materialize(root, key, "01_a")


def put_object(root: Path, content: bytes, name: str | None = None) -> str:
    name = name or hashlib.md5(content).hexdigest()
    place = root / ".dvc/cache/files/md5" / name[:2] / name[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return name


def test_what_nobody_committed_is_listed_and_stays_unless_it_is_asked_for(pushed: Path) -> None:
    replace_uncommitted(pushed, "deep/lost.txt")
    done = call(pushed, "gc", "--yes")
    assert "originals 1 file, " in done.stdout
    assert ", stay: no commit" in done.stdout
    assert "an earlier version of raw/01_a: 1 file\n              deep/lost.txt" in done.stdout
    assert LOST in cached(pushed)
    # With what it is called; and what a stage made of it comes again when it is wanted.
    (original,) = (o for o in use_of(pushed).originals if o.md5 == LOST)
    assert (original.file, original.collection) == ("deep/lost.txt", "raw/01_a")
    assert original.version in cached(pushed)
    assert MADE not in cached(pushed)
    # What is shown with --raw is what it removes.
    use = use_of(pushed)
    shown = call(pushed, "gc", "--raw").stdout
    assert "originals 1 file, " in shown
    assert ", go, too, for good: no commit" in shown
    assert " stay" not in shown
    size = format_size(use.size_to_free(raw=True))
    wanted = count_of(len(use.objects_to_free(raw=True)), "object")
    assert f"to free   {size} in {wanted}, originals among them\n" in shown
    twin = pushed.parent / "twin"
    run(pushed, "cp", "-a", str(pushed), str(twin))
    freed = call(twin, "gc", "--raw", "--yes").stdout
    assert f"freed     {size}: {wanted} removed\n" in freed
    told = json.loads(call(pushed, "gc", "--raw", "--yes", "--json").stdout)
    assert told["originals"]["files"][0]["file"] == "deep/lost.txt"
    assert LOST not in cached(pushed)
    assert use_of(pushed).originals == ()


def test_what_a_stage_made_of_what_is_gone_stays(pushed: Path) -> None:
    replace_uncommitted(pushed)
    assert {o.md5 for o in use_of(pushed).originals} >= {LOST}
    assert MADE not in {o.md5 for o in use_of(pushed).originals}
    (pushed / ".dvc/cache/files/md5" / LOST[:2] / LOST[2:]).unlink()
    free_all(pushed)
    assert MADE in cached(pushed)


@pytest.mark.parametrize("answers", [True, False])
def test_what_a_remote_has_is_freed_if_it_says_so(pushed: Path, answers: bool) -> None:
    write_tree(pushed, {"raw/01_a/lost.txt": "lost\n"})
    materialize(pushed, RAW, "01_a")
    run(pushed, "dvc", "push", "raw/01_a")
    (pushed / "raw/01_a/lost.txt").unlink()
    materialize(pushed, RAW, "01_a")
    if not answers:
        run(pushed, "dvc", "remote", "modify", "storage", "url", "ssh://127.0.0.1:9/none")
    use = use_of(pushed)
    assert bool(use.originals) is not answers
    assert bool(use.unasked) is not answers
    if answers:
        free_all(pushed)
        assert LOST not in cached(pushed)


def test_half_of_it_on_a_remote_is_not_enough(pushed: Path) -> None:
    write_tree(pushed, {"raw/01_a/lost.txt": "lost\n"})
    materialize(pushed, RAW, "01_a")
    run(pushed, "dvc", "push", "raw/01_a")
    (there,) = (p for p in pushed.rglob(f"{LOST[:2]}/{LOST[2:]}") if "cache" not in p.parts)
    there.chmod(0o644)
    there.write_text("lo")
    (pushed / "raw/01_a/lost.txt").unlink()
    materialize(pushed, RAW, "01_a")
    assert LOST in {o.md5 for o in use_of(pushed).originals}


def test_what_only_the_reflog_has_stays(pushed: Path) -> None:
    write_tree(pushed, {"raw/01_a/lost.txt": "lost\n"})
    materialize(pushed, RAW, "01_a")
    commit_all(pushed)
    run(pushed, "git", "reset", "--quiet", "--hard", "HEAD~1")
    run(pushed, "dvc", "checkout", "--force", "--quiet")
    free_all(pushed)
    assert LOST in cached(pushed)


@pytest.mark.parametrize("staged", [True, False])
def test_what_another_work_tree_has_without_a_commit_is_needed(
    pushed: Path, tmp_path: Path, staged: bool
) -> None:
    other = tmp_path / "other"
    run(pushed, "git", "worktree", "add", "--quiet", "-b", "other", str(other))
    listing = build_listing([("lost.txt", LOST)])
    version = put_object(pushed, listing, hash_listing(listing))
    put_object(pushed, b"lost\n")
    write_tree(other, {"raw/09_z.dvc": f"outs:\n- md5: {version}\n  hash: md5\n  path: 09_z\n"})
    if staged:
        run(other, "git", "add", "raw/09_z.dvc")
        (other / "raw/09_z.dvc").unlink()
    use = use_of(pushed)
    assert LOST not in use.unneeded | {o.md5 for o in use.originals}
    # One that is not there may have anything.
    shutil.move(other, tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match=r"^nothing was freed: .*git worktree prune"):
        free_all(pushed)


def write_compact(files: dict[str, str]) -> bytes:
    entries = [{"relpath": name, "md5": md5} for name, md5 in files.items()]
    return json.dumps(entries, separators=(",", ":")).encode()


@pytest.mark.parametrize("form", ["- md5: {}\n  path: 09_z\n", "- {{path: 09_z, 'md5': {}}}\n"])
def test_a_listing_and_a_metafile_are_read_in_any_form(pushed: Path, form: str) -> None:
    listing = write_compact({"a.txt": LOST})
    version = put_object(pushed, listing, hash_listing(listing))
    put_object(pushed, b"lost\n")
    write_tree(pushed, {"raw/09_z.dvc": "outs:\n" + form.format(version)})
    commit_all(pushed)
    free_all(pushed)
    assert {LOST, version} <= cached(pushed)


@pytest.mark.parametrize("text", [b"[{", b"{}", b'[{"md5": "x"}]', b""])
def test_a_broken_listing_keeps_what_it_may_have_named(pushed: Path, text: bytes) -> None:
    broken = put_object(pushed, text, f"{'0' * 32}.dir")
    put_object(pushed, b"lost\n")
    free_all(pushed)
    assert LOST in cached(pushed)
    # Of a version that is needed it is not known what that needs.
    write_tree(pushed, {"raw/09_z.dvc": f"outs:\n- md5: {broken}\n  path: 09_z\n"})
    commit_all(pushed)
    with pytest.raises(RefusedError, match=r"^nothing was freed: .*(raw/09_z|listing)"):
        free_all(pushed)


class Known(dict[str, frozenset[str]]):
    """What some versions hold."""

    def contents(self, version: str) -> frozenset[str] | None:
        return self.get(version) if version.endswith(".dir") else frozenset({version})


def entry(made: str, *read: str) -> Recorded:
    outputs, inputs = {"made": Version(made)}, {f"in{n}": Version(v) for n, v in enumerate(read)}
    return Recorded("dvc.yaml:s", outputs, inputs, frozenset({made}))


@pytest.mark.parametrize(
    ("runs", "staying", "originals"),
    [
        # What a stage passes on it has not made.
        ([entry("out.dir", "in.dir")], {"in.dir", "photo"}, {"photo"}),
        # Made of what can be made again.
        (
            [entry("out.dir", "mid.dir"), entry("mid.dir", "src.dir")],
            {"src.dir", "film"},
            {"photo"},
        ),
        # One made of the other and back: neither has a beginning.
        ([entry("out.dir", "mid.dir"), entry("mid.dir", "out.dir")], set(), None),
        # What it read is not known, or not there.
        ([entry("out.dir", "unknown.dir")], set(), None),
        ([entry("out.dir", "src.dir")], set(), None),
        ([entry("out.dir", "film")], set(), None),
        # Nothing is known of what made it, or that it read anything.
        ([entry("out.dir")], set(), None),
        ([], set(), None),
    ],
)
def test_an_original_is_what_nothing_that_is_left_could_make(
    tmp_path: Path, runs: list[Recorded], staying: set[str], originals: set[str] | None
) -> None:
    known = Known(
        {
            "in.dir": frozenset({"photo"}),
            "src.dir": frozenset({"film"}),
            "mid.dir": frozenset({"frame"}),
            "out.dir": frozenset({"photo", "frame", "table"}),
        }
    )
    asked = {"out.dir", "mid.dir", "photo", "frame", "table"} - staying
    if originals == {"photo"} and "in.dir" not in staying:
        known["out.dir"] = frozenset({"frame", "table"})
    found = find_originals(Registry(tmp_path), known, runs, asked, staying)
    if originals is None:
        assert {"table", "photo"} <= found
    else:
        assert found >= originals - staying
        assert "table" not in found


def test_code_that_changed_does_not_make_data_of_what_it_made(pushed: Path) -> None:
    replace_uncommitted(pushed)
    code = pushed / DATASET / "upper.py"
    code.write_text(f"{code.read_text()}\n# changed\n")
    assert MADE not in {o.md5 for o in use_of(pushed).originals}
