"""Publishing in real repositories: a bare Git repository and a folder stand for the remotes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance

from registry_assets import build_definitions
from registry_assets.cli import main
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.publish_job import PUBLISH_JOB
from registry_assets.revisions.publishing.forges import Forge
from tests.conftest import PIPELINE, UPPER, commit_all, run, write_tree
from tests.persisting.helpers import (
    RAW,
    build_repository,
    is_clean,
    make_upper,
    materialize,
    take_in,
)
from tests.runs import own

INPUTS = "processed/texts/data/inputs"
LOCK = "processed/texts/dvc.lock"
FORGE_URL = "https://github.com/example/photos.git"


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def publish(root: Path, *arguments: str) -> dict[str, object]:
    done = registry(root, "publish", "--json", *arguments)
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry, its Git remote and its DVC remote, on which one collection is."""
    folder = tmp_path_factory.mktemp("published")
    root = build_repository(
        folder / "registry",
        {
            "processed/texts/dvc.yaml": PIPELINE[: PIPELINE.index("  count:")],
            "processed/texts/upper.py": UPPER,
            "processed/texts/params.yaml": "suffix: 1\n",
            "processed/texts/collections.yaml": "collections: []\n",
            "raw/.gitignore": "",
        },
    )
    write_tree(root, {"raw/01_a/one.txt": "one\n"})
    take_in(root, "01_a")
    make_upper(root)
    run(folder, "git", "init", "--quiet", "--bare", "origin.git")
    run(root, "git", "remote", "add", "origin", str(folder / "origin.git"))
    (folder / "storage").mkdir()
    run(root, "dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
    list(init_registry(root))
    commit_all(root, "Start")
    run(root, "git", "push", "--quiet", "--set-upstream", "origin", "main")
    run(root, "dvc", "push", "--quiet")
    return folder


@pytest.fixture
def root(_published: Path, tmp_path: Path) -> Path:
    """A registry of one's own with remotes of its own, and a collection that is not published."""
    folder = Path(shutil.copytree(_published, tmp_path / "team", symlinks=True))
    root = folder / "registry"
    for config in (root / ".dvc/config", root / ".git/config"):
        config.write_text(config.read_text().replace(str(_published), str(folder)))
    run(root, "git", "commit", "--quiet", "--all", "--message", "Move")
    run(root, "git", "push", "--quiet")
    take_collection(root, "02_b")
    return root


def take_collection(root: Path, name: str) -> None:
    write_tree(root, {f"raw/{name}/{name}.txt": f"{name}\n", f"raw/{name}/blank.jpg": name})
    take_in(root, name)
    make_upper(root, name)


def clone(root: Path, target: Path, branch: str = "main") -> Path:
    origin = root.parent / "origin.git"
    run(root.parent, "git", "clone", "--quiet", "--branch", branch, str(origin), str(target))
    run(target, "dvc", "pull", "--quiet")
    return target


def branches(root: Path) -> list[str]:
    listed = run(
        root.parent / "origin.git", "git", "for-each-ref", "--format=%(refname:short)", "refs/heads"
    )
    return sorted(set(listed.split()) - {"main"})


def where_things_stand(root: Path) -> list[str]:
    commands = (["rev-parse", "HEAD"], ["symbolic-ref", "HEAD"], ["ls-files", "--stage"])
    return [run(root, "git", *c) for c in (*commands, ["status", "--porcelain"], ["diff"])]


def stored(root: Path) -> dict[str, Path]:
    """The objects on the DVC remote, by hash."""
    folder = root.parent / "storage/files/md5"
    return {path.parent.name + path.name: path for path in folder.glob("*/*")}


def test_metafiles_are_published_beside_the_work_tree_and_the_data_before_them(
    root: Path, tmp_path: Path
) -> None:
    write_tree(root, {"staged.txt": "mine\n", "notes.txt": "mine\n"})
    run(root, "git", "add", "staged.txt")
    ignored = root / "raw/.gitignore"
    ignored.write_text("*.swp\n" + ignored.read_text())
    before = where_things_stand(root)

    planned = publish(root, "--dry-run")
    assert planned["state"] == "planned"
    assert branches(root) == []
    said = publish(root)

    assert where_things_stand(root) == before
    assert said["title"] == "Add 02_b to texts"
    assert said["branch"] == planned["branch"]
    assert branches(root) == [said["branch"]]
    assert str(said["branch"]).startswith("data/02_b-")
    assert said["warnings"] == said["made_with"] == []
    changed = run(root, "git", "diff", "--name-only", "main", str(said["branch"])).split()
    assert changed == said["files"]
    assert set(changed) == {
        *("raw/02_b.dvc", "raw/.gitignore", f"{INPUTS}/02_b.dvc", f"{INPUTS}/.gitignore"),
        *("processed/texts/collections.yaml", LOCK),
        "processed/texts/data/intermediate/upper/.gitignore",
    }
    assert run(root, "git", "show", f"{said['branch']}:raw/.gitignore") == "/01_a\n/02_b\n"
    summary = said["summary"]
    assert isinstance(summary, dict)
    assert summary["raw"]["added"] == ["02_b"]
    counts = {"added": 1, "removed": 0, "changed": 0, "renamed": 0, "unknown": 0}
    assert summary["raw"]["images"] == counts
    assert {f["name"]: f["others"]["added"] for f in summary["datasets"]["texts"]} == {
        INPUTS: 1,
        "processed/texts/data/intermediate/upper": 1,
    }
    body = run(root, "git", "log", "-1", "--format=%(trailers)", str(said["branch"]))
    assert "Registry-Asset: raw [02_b]" in body

    again = publish(root)
    assert (again["commit"], again["branch"]) == (said["commit"], said["branch"])
    assert again["data"] == {**said["data"], "pushed": 0}  # type: ignore[dict-item]
    fresh = clone(root, tmp_path / "fresh", str(said["branch"]))
    assert is_clean(fresh)
    assert (fresh / "raw/02_b/02_b.txt").read_text() == "02_b\n"

    # Merged elsewhere, with something of others, there is nothing left to publish here.
    commit_all(fresh, "Of others")
    run(fresh, "git", "push", "--quiet", "origin", "HEAD:main")
    run(root, "git", "push", "--quiet", "origin", "--delete", str(said["branch"]))
    assert "in origin/main already" in str(publish(root)["reason"])
    assert publish(fresh)["state"] == "nothing"
    # What was merged comes here, and what is staged and edited besides stays.
    assert publish(root, "--switch")["state"] == "nothing"
    assert run(root, "git", "status", "--porcelain").splitlines() == [
        *(" M raw/.gitignore", "A  staged.txt", "?? notes.txt")
    ]
    run(root, "git", "checkout", "--quiet", "raw/.gitignore")
    run(root, "git", "switch", "--quiet", "main")
    run(root, "git", "pull", "--quiet")
    assert (root / "raw/02_b.dvc").read_bytes() == (fresh / "raw/02_b.dvc").read_bytes()


def test_what_results_were_made_with_goes_along_and_nothing_else(
    root: Path, tmp_path: Path
) -> None:
    texts = "processed/texts"
    pipeline = (root / f"{texts}/dvc.yaml").read_text()
    edits = {
        f"{texts}/params.yaml": "suffix: 2\n",
        f"{texts}/upper.py": f"# Better\n{UPPER}",
        f"{texts}/dvc.yaml": pipeline.replace(
            "        - upper.py\n", "        - upper.py\n        - words\n"
        ),
        f"{texts}/words/list.txt": "one\n",
    }
    write_tree(root, {**edits, f"{texts}/unused.py": "pass\n", "raw/note.txt": "mine\n"})
    (root / f"{texts}/upper.py").chmod(0o755)
    run(root, "git", "add", f"{texts}/unused.py", f"{texts}/params.yaml")
    line = registry(root, "publish").output
    assert (
        f"{texts}/dvc.yaml:upper@02_b was made with other files than those in the work tree" in line
    )
    assert "`registry materialize`" in line
    assert branches(root) == []

    make_upper(root)
    make_upper(root, "02_b")
    before = where_things_stand(root)
    said = registry(root, "publish", "--dry-run").output
    assert f"  M {texts}/params.yaml\n" in said
    assert f"  A {texts}/words/list.txt\n" in said
    assert "## Made with" in said
    assert f"- `{texts}/upper.py`" in said
    done = publish(root)
    assert done["made_with"] == sorted(edits)
    assert where_things_stand(root) == before
    changed = run(root, "git", "diff", "--name-only", "main", str(done["branch"])).split()
    assert changed == done["files"]
    assert not {f"{texts}/unused.py", "raw/note.txt"} & {*changed}
    assert publish(root)["commit"] == done["commit"]
    fresh = clone(root, tmp_path / "fresh", str(done["branch"]))
    assert is_clean(fresh)
    assert (fresh / f"{texts}/upper.py").stat().st_mode & 0o100
    # One more edit makes another branch of it, or none.
    write_tree(root, {f"{texts}/params.yaml": "suffix: 3\n"})
    assert registry(root, "publish").exit_code == 1
    write_tree(root, edits)
    run(fresh, "git", "push", "--quiet", "origin", "HEAD:main")
    assert "in origin/main already" in str(publish(root, "--switch")["reason"])
    assert run(root, "git", "status", "--porcelain").splitlines() == [
        *(f"A  {texts}/unused.py", "?? raw/note.txt")
    ]


def test_edits_behind_results_that_are_committed_already_go_along_too(root: Path) -> None:
    params = "processed/texts/params.yaml"
    run(root, "git", "switch", "--quiet", "--create", "mine")
    write_tree(root, {params: "suffix: 2\n"})
    make_upper(root)
    make_upper(root, "02_b")
    run(root, "git", "add", "--all", "--", "raw", "processed/texts", f":!{params}")
    run(root, "git", "commit", "--quiet", "--message", "All but the parameters")
    planned = publish(root, "--dry-run")
    assert planned["made_with"] == [params]
    assert planned["branch"] != "mine"
    # An edit that came after them is nobody's result.
    run(root, "git", "commit", "--quiet", "--all", "--message", "The parameters")
    write_tree(root, {params: "suffix: 3\n"})
    planned = publish(root, "--dry-run")
    assert (planned["made_with"], planned["branch"]) == ([], "mine")
    assert f"{params}: edited after the committed run of" in str(planned["warnings"])


def test_what_neither_git_nor_dvc_should_get_with_results_is_named(root: Path) -> None:
    texts = root / "processed/texts"
    for name, text in (("weights.bin", "x" * 10_000_001), ("secret.txt", "key\n")):
        (texts / name).write_text(text)
    ignored = texts / ".gitignore"
    ignored.write_text("/secret.txt\n")
    pipeline = texts / "dvc.yaml"
    fresh = "        - upper.py\n        - weights.bin\n        - secret.txt\n"
    pipeline.write_text(pipeline.read_text().replace("        - upper.py\n", fresh))
    make_upper(root, "02_b")
    assert "such as processed/texts/weights.bin: `dvc add`" in registry(root, "publish").output
    (texts / "weights.bin").write_text("x")
    make_upper(root, "02_b")
    planned = publish(root, "--dry-run")
    assert planned["made_with"] == ["processed/texts/dvc.yaml", "processed/texts/weights.bin"]
    assert "secret.txt: results were made with it, but Git ignores it" in str(planned["warnings"])


def test_a_title_claims_nothing_that_did_not_happen(root: Path) -> None:
    write_tree(
        root, {"raw/03_c/three.txt": "three\n", "processed/texts/params.yaml": "suffix: 2\n"}
    )
    materialize(root, RAW, "03_c")
    make_upper(root)
    make_upper(root, "02_b")
    # 03_c was not taken in.
    assert publish(root, "--dry-run")["title"] == "Add 02_b and 03_c"
    publish(root, "--switch")
    run(root, "git", "push", "--quiet", "origin", "HEAD:main")
    write_tree(root, {"raw/04_d/four.txt": "four\n", "processed/texts/params.yaml": "suffix: 3\n"})
    materialize(root, RAW, "04_d")
    make_upper(root)
    make_upper(root, "02_b")
    assert publish(root, "--dry-run")["title"] == "Add 04_d"
    publish(root, "--switch")
    run(root, "git", "push", "--quiet", "origin", "HEAD:main")
    assert registry(root, "take-out", "02_b", "--from", "texts").exit_code == 0
    assert publish(root, "--dry-run")["title"] == "Remove 02_b from texts"


def test_nothing_reaches_git_before_all_of_its_data_is_on_the_remote(root: Path) -> None:
    cached = root / ".dvc/cache/files/md5"
    take_collection(root, "03_c")
    md5 = run(root, "md5sum", "raw/03_c/03_c.txt").split()[0]
    lost = cached / md5[:2] / md5[2:]
    content = lost.read_bytes()
    lost.unlink()
    refused = registry(root, "publish")
    assert refused.exit_code == 1
    assert "neither in the cache nor on the remote" in refused.output
    assert "03_c/03_c.txt" in refused.output
    assert branches(root) == []
    lost.write_bytes(content)

    # Git refuses for a while: the branch is called the same when it is run again.
    hook = root.parent / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no space >&2\nexit 1\n")
    hook.chmod(0o755)
    refused = registry(root, "publish")
    assert refused.exit_code == 1
    assert "run `registry publish` again" in refused.output
    (made,) = run(root, "git", "for-each-ref", "--format=%(objectname)", "refs/heads/data").split()
    hook.unlink()
    # Of a folder that DVC takes for pushed, one file is gone from the remote.
    stored(root)[md5].unlink()
    said = publish(root)
    assert said["commit"] == made
    assert said["data"]["pushed"] == 1  # type: ignore[index]
    assert md5 in stored(root)


def test_two_people_publish_at_once_and_both_are_merged(root: Path, tmp_path: Path) -> None:
    other = clone(root, tmp_path / "other")
    list(init_registry(other))
    take_collection(other, "03_c")
    names = [str(publish(place)["branch"]) for place in (root, other)]
    assert branches(root) == sorted(names)
    merged = clone(root, tmp_path / "merged")
    list(init_registry(merged))
    for name in names:
        run(merged, "git", "merge", "--quiet", "--no-edit", f"origin/{name}")
    run(merged, "git", "push", "--quiet")
    fresh = clone(root, tmp_path / "fresh")
    assert is_clean(fresh)
    assert sorted(path.name for path in (fresh / "raw").iterdir() if path.is_dir()) == [
        *("01_a", "02_b", "03_c")
    ]


def test_a_pull_request_is_opened_by_the_program_of_the_forge_or_its_address_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, "git", "config", f"url.{root.parent / 'origin.git'}.insteadOf", FORGE_URL)
    run(root, "git", "remote", "set-url", "origin", FORGE_URL)
    branch = str(publish(root, "--dry-run")["branch"])
    assert publish(root)["pull_request"] == {
        "state": "address",
        "url": f"https://github.com/example/photos/compare/main...{branch}?expand=1",
        "reason": None,
    }
    program, record = tmp_path / "bin/gh", tmp_path / "arguments"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\0" "$@" > {record}\n'
        "echo https://github.com/example/photos/pull/7\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    said = publish(root, "--message", "More harbours")
    assert said["pull_request"]["url"].endswith("/pull/7")  # type: ignore[index]
    arguments = record.read_text().split("\0")[:-1]
    assert arguments[:2] == ["pr", "create"]
    given = dict(zip(arguments[2::2], arguments[3::2], strict=True))
    assert given == {
        "--head": branch,
        "--base": "main",
        "--title": "More harbours",
        "--body": said["description"],
    }
    assert "| raw | 1 | 0 | 0 | 0 | +1 -0 ~0 |" in given["--body"]

    program.write_text("#!/bin/sh\necho not logged in >&2\nexit 4\n")
    request = publish(root)["pull_request"]
    assert isinstance(request, dict)
    assert (request["state"], request["reason"]) == ("address", "gh: not logged in")


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("git@github.com:me/photos.git", "https://github.com/me/photos/compare/main...x?expand=1"),
        (
            "ssh://git@gitlab.example.org:2222/a/b/c.git",
            "https://gitlab.example.org/a/b/c/-/merge_requests/new"
            "?merge_request%5Bsource_branch%5D=x&merge_request%5Btarget_branch%5D=main",
        ),
        (
            "https://bitbucket.org/a/b",
            "https://bitbucket.org/a/b/pull-requests/new?source=x&dest=main",
        ),
        ("git@codeberg.org:a/b.git", "https://codeberg.org/a/b/compare/main...x"),
        (
            "git@ssh.dev.azure.com:v3/org/proj/repo",
            "https://dev.azure.com/org/proj/_git/repo/pullrequestcreate?sourceRef=x&targetRef=main",
        ),
        ("https://user:secret@git.example.org/x/y.git", None),
    ],
)
def test_where_a_pull_request_is_opened_is_known_of_each_forge(
    address: str, page: str | None
) -> None:
    forge = Forge.find([address])
    assert forge is not None
    assert forge.address_to_open("x", "main") == page
    assert "secret" not in repr(forge)


def test_a_plain_path_is_no_forge() -> None:
    for address in ("/srv/git/photos.git", "../photos.git", "file:///srv/git/photos.git"):
        assert Forge.find([address]) is None


def test_what_stands_in_the_way_is_one_line_with_the_next_step(root: Path) -> None:
    def refused(*arguments: str) -> str:
        done = registry(root, "publish", *arguments)
        assert done.exit_code == 1
        assert len(done.output.splitlines()) == 1
        return done.output

    assert "protected" in refused("--branch", "main")
    assert "choose another" in refused("--branch", "a..b")
    run(root, "git", "branch", "taken", "main")
    assert "exists with other content" in refused("--branch", "taken")
    shutil.rmtree(root.parent / "storage")
    (root.parent / "storage").write_text("not a folder")
    assert "remote storage (" in refused()
    run(root, "dvc", "remote", "remove", "storage")
    assert "dvc remote add --default storage" in refused()
    run(root, "git", "remote", "remove", "origin")
    assert "git remote add origin" in refused()
    run(root, "git", "checkout", "--quiet", "--detach")
    assert "git switch -c" in refused()


def test_a_file_of_decisions_that_is_new_goes_along_and_a_broken_one_stops_it(root: Path) -> None:
    decisions = "processed/texts/decisions/02_b.yaml"
    pipeline = root / "processed/texts/dvc.yaml"
    dep = "        - decisions/${item}.yaml\n"
    text = pipeline.read_text()
    pipeline.write_text(text.replace("      deps:\n", f"      deps:\n{dep}", 1))
    assert pipeline.read_text() != text
    commit_all(root, "Heed decisions")
    for name in ("01_a", "02_b"):
        write_tree(root, {f"processed/texts/decisions/{name}.yaml": "decisions: []\n"})
        make_upper(root, name)
    said = publish(root, "--dry-run")
    assert not any(decisions in warning for warning in said["warnings"])  # type: ignore[attr-defined]
    assert decisions in str(said)
    write_tree(root, {decisions: 'decisions:\n  - "unclosed\n'})
    done = registry(root, "publish")
    assert done.exit_code == 1
    assert decisions in done.output


def test_the_job_in_the_ui_publishes_the_same_with_its_description(
    root: Path, instance: DagsterInstance
) -> None:
    planned = publish(root, "--dry-run")
    job = build_definitions(root).resolve_job_def(own(root, PUBLISH_JOB))
    result = job.execute_in_process(instance=instance)
    (output,) = [
        event.step_output_data
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT"
    ]
    assert output.metadata["description"].value == planned["description"]
    assert branches(root) == [planned["branch"]]
    message = run(root, "git", "log", "-1", "--format=%B", str(planned["branch"]))
    assert f"Dagster-Run: {result.run_id}" in message


def test_runs_commit_what_they_wrote_where_that_is_set_but_on_no_protected_branch(
    root: Path, tmp_path: Path
) -> None:
    write_tree(root, {"pyproject.toml": '[tool.registry_assets]\ngit = "commit"\n'})
    started = commit_all(root, "Let runs commit")
    run(root, "git", "push", "--quiet")
    write_tree(root, {"raw/03_c/three.txt": "three\n", "staged.txt": "mine\n"})
    run(root, "git", "add", "staged.txt")
    assert registry(root, "add", "03_c").exit_code == 0
    assert run(root, "git", "rev-parse", "main").strip() == started

    # What the run found there is recorded by the next one on a branch of one's own.
    run(root, "git", "switch", "--quiet", "--create", "shoot")
    (root / "raw/03_c/four.txt").write_text("four\n")
    assert registry(root, "add", "03_c").exit_code == 0
    added = run(root, "git", "log", "-1", "--format=%B", "--name-only")
    assert added.startswith("Record raw/03_c\n\nRegistry-Asset: raw [03_c]\nDagster-Run: ")
    assert added.split("\n\n")[-1].split() == ["raw/.gitignore", "raw/03_c.dvc"]
    assert registry(root, "materialize", "--collection", "03_c").exit_code == 0
    assert run(root, "git", "rev-list", "--count", "main..shoot").strip() == "2"
    assert run(root, "git", "status", "--porcelain") == "A  staged.txt\n"

    # A result names the edits that it was made with, which are not the run's to commit.
    write_tree(root, {"processed/texts/params.yaml": "suffix: 2\n"})
    done = registry(root, "materialize", "--select", "key:*upper", "--collection", "03_c")
    edited = "Made with edits that are not committed: processed/texts/params.yaml"
    assert edited in done.output
    assert edited in run(root, "git", "log", "-1", "--format=%B")
    assert " M processed/texts/params.yaml" in run(root, "git", "status", "--porcelain")
    run(root, "git", "commit", "--quiet", "--message", "Params", "processed/texts/params.yaml")
    assert registry(root, "materialize").exit_code == 0

    # With nothing left to commit, the branch itself is what is published, and grows.
    said = publish(root)
    assert (said["branch"], branches(root)) == ("shoot", ["shoot"])
    assert said["title"] == "Add 03_c to texts"
    assert is_clean(clone(root, tmp_path / "fresh", "shoot"))
    take_collection(root, "04_d")
    commit_all(root, "By hand")
    again = publish(root)
    assert run(root.parent / "origin.git", "git", "rev-parse", "shoot").strip() == again["commit"]


def test_what_is_recorded_is_told_to_dagster_also_where_git_refuses_to_commit_it(
    root: Path,
) -> None:
    write_tree(root, {"pyproject.toml": '[tool.registry_assets]\ngit = "commit"\n'})
    commit_all(root, "Let runs commit")
    run(root, "git", "switch", "--quiet", "--create", "shoot")
    (root / "raw/02_b/five.txt").write_text("five\n")
    hook = root / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho nobody commits here >&2; exit 1\n")
    hook.chmod(0o755)
    done = registry(root, "materialize", "--select", "key:raw", "--collection", "02_b")
    hook.unlink()
    assert done.exit_code == 1
    assert "raw/02_b.dvc" in run(root, "git", "status", "--porcelain")
    assert registry(root, "lineage", "--check").exit_code == 0


def test_data_goes_along_where_git_alone_pushed_the_metafiles(root: Path, tmp_path: Path) -> None:
    commit_all(root, "Add 02_b")
    run(root, "git", "push", "--quiet")
    # What the storage has of it is what an earlier version has, too.
    before = set(stored(root))
    assert publish(root, "--dry-run") == {
        "state": "nothing",
        "reason": "nothing to publish: origin/main has every metafile",
    }
    assert set(stored(root)) == before
    done = registry(root, "publish")
    assert done.exit_code == 0, done.output
    pushed = len(set(stored(root)) - before)
    assert pushed > 0
    assert done.output.splitlines()[-1] == (
        f"pushed {pushed} objects; nothing else to publish: origin/main has every metafile"
    )
    assert is_clean(clone(root, tmp_path / "theirs"))
    again = publish(root)
    assert again["reason"] == "nothing to publish: origin/main has every metafile"
    assert again["data"] == {"remotes": ["storage"], "objects": len(stored(root)), "pushed": 0}
    # What is neither here nor there is said.
    lost = stored(root).keys() - before
    for place in (root.parent / "storage", root / ".dvc/cache"):
        for md5 in lost:
            (place / "files/md5" / md5[:2] / md5[2:]).unlink()
    done = registry(root, "publish")
    assert done.exit_code == 1
    assert "are neither in the cache nor on the remote" in done.output


def test_a_remote_that_only_this_machine_has_is_said_to_be_one(root: Path) -> None:
    run(root, "dvc", "remote", "add", "--local", "mine", str(root / ".dvc/storage"))
    run(root, "dvc", "config", "core.remote", "mine")
    said = "the address of the remote mine is in this machine's own settings"
    done = registry(root, "publish")
    assert done.exit_code == 0, done.output
    assert done.stdout.count(said) == 1
    commit_all(root, "Add 02_b")
    run(root, "git", "push", "--quiet")
    done = registry(root, "publish")
    assert done.exit_code == 0, done.output
    assert done.stdout.count(said) == 1
