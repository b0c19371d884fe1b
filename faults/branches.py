"""Branches that strangers made: looked at, checked out and cloned, materializing nothing.

Reading runs no command of theirs, writes nothing outside of the registry, and ends in bounded time
and memory; what cannot be read is named, and `main` is as before.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.programs import Kill, check, find_running
from faults.registries import DATASET, NAMES, Site, build_base
from faults.trials import Order, Trial, side_by_side

_MOST_SECONDS = 20
# Of address space, which libraries reserve generously.
_MOST_BYTES = 4 * 2**30
_BUG = ("should not happen", "Traceback")
VICTIM = "not theirs\n"
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
_FILE = f"raw/{NAMES[0]}/file1.txt"

# What people do with the branch of somebody else.
_COMMANDS = (
    ("diff", "main", "theirs", "--files"),
    ("checkout", "theirs"),
    ("status",),
    ("lineage", "--check"),
    ("diff", "main"),
    ("trace", _FILE),
    ("report",),
    ("gc",),
)
_IN_A_CLONE = (("status",), ("sync",), ("lineage", "--check"))


@dataclass(frozen=True)
class _Branch:
    """What a stranger works on: a clone, and the files that it is to lead to."""

    root: Path
    outside: Path

    def fill(self, text: str) -> str:
        return text.replace("OUTSIDE", str(self.outside))


Make = Callable[[_Branch], object]


def _text(path: str, text: str | bytes, branch: _Branch) -> None:
    place = branch.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text if isinstance(text, bytes) else branch.fill(text).encode())


def _link(path: str, target: str, branch: _Branch) -> None:
    """Puts a link in the place of a file or folder, as Git would check it out."""
    place = branch.root / path
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(branch.fill(target))


def _repeat(path: str, start: str, line: str, branch: _Branch) -> None:
    _text(path, start + line * (_HUGE // len(line)), branch)


def _texts(files: Mapping[str, str], branch: _Branch) -> None:
    for path, text in files.items():
        _text(path, text, branch)


_LINKED = (
    f"raw/{NAMES[0]}.dvc",
    f"raw/{NAMES[0]}",
    "raw/09_new",
    "raw",
    f"{DATASET}/dvc.yaml",
    f"{DATASET}/dvc.lock",
    f"{DATASET}/params.yaml",
    f"{DATASET}/collections.yaml",
    f"{DATASET}/data/intermediate/upper/{NAMES[0]}",
    f"{DATASET}/data/inputs/{NAMES[0]}.dvc",
    f"{DATASET}/decisions/{NAMES[0]}.yaml",
    "processed",
    "pyproject.toml",
    "dagster.yaml",
    "forgotten.yaml",
    ".gitignore",
    "raw/.gitignore",
    ".gitattributes",
    ".dvcignore",
    ".env",
    ".dvc/config",
    ".dvc/config.local",
    ".dvc/tmp",
    ".dvc/tmp/lock",
    ".dvc/tmp/rwlock",
    ".dvc/tmp/btime",
    ".dvc/cache",
    ".dagster",
    ".dagster/.gitignore",
)
_ARROW = " -> "
_TARGETS = ("OUTSIDE/victim", "OUTSIDE/folder", "OUTSIDE/new", "/dev/zero", "OUTSIDE/pipe", ".")

STAGE = "stages:\n  s:\n    cmd: touch OUTSIDE/ran\n    {}\n"
_DEEP = "/".join(["d"] * 900)
_ALIASES = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
_STARS = "*a" * 24 + "*b"
_HUGE = 80 * 2**20


def _encode(branch: _Branch) -> None:
    """A metafile that Git checks out in another encoding, and programs that it should run."""
    path = f"raw/{NAMES[0]}.dvc"
    attributes = f"* filter=evil diff=evil ident eol=crlf\n{path} working-tree-encoding=UTF-16\n"
    _text(".gitattributes", attributes, branch)
    _text(path, (branch.root / path).read_text("utf-8").encode("utf-16"), branch)


def _embedded(branch: _Branch) -> None:
    """A bare repository among the files, whose settings name programs."""
    place = branch.root / "evil"
    for command in (
        ("git", "init", "--quiet", "--bare", str(place)),
        ("git", "push", "--quiet", str(place), "HEAD:refs/heads/main"),
        ("git", "-C", str(place), "symbolic-ref", "HEAD", "refs/heads/main"),
    ):
        subprocess.run(command, check=True, cwd=branch.root, capture_output=True)
    ran = f"touch {branch.outside}/ran;"
    settings = (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.gitProxy",
        "uploadpack.packObjectsHook",
        "diff.external",
        "core.editor",
        "remote.origin.uploadpack",
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
    )
    for setting in settings:
        subprocess.run(["git", "-C", str(place), "config", setting, ran], check=True)
    hooks = place / "hooks"
    for name in ("post-checkout", "reference-transaction", "pre-receive", "post-index-change"):
        hook = hooks / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{ran}\n", "utf-8")
        hook.chmod(0o755)
    (place / "refs/keep").write_text("", "utf-8")
    (place / "info/attributes").parent.mkdir(exist_ok=True)
    (place / "info/attributes").write_text("* filter=evil\n", "utf-8")
    _import_of("evil", branch)


def _import_of(url: str, branch: _Branch) -> None:
    _text(
        f"{DATASET}/data/inputs/08_theirs.dvc",
        f"md5: {EMPTY}\nfrozen: true\ndeps:\n- path: raw/{NAMES[0]}\n  repo:\n    url: '{url}'\n"
        f"    rev_lock: {'a' * 40}\nouts:\n- md5: {EMPTY}\n  hash: md5\n  path: 08_theirs\n",
        branch,
    )


_URLS = (
    "ext::sh -c touch%20OUTSIDE/ran",
    "ssh://-oProxyCommand=touch%20OUTSIDE%2Fran/x",
    "-uOUTSIDE/ran",
    "--upload-pack=touch OUTSIDE/ran",
    "file://OUTSIDE",
    "http://127.0.0.1:1/x.git",
    "/dev/zero",
    "OUTSIDE/pipe",
    "../../../../..",
)

_PATTERNS: Mapping[str, str | bytes] = {
    "stars": f"{_STARS}\n",
    "folders": "/".join(["**", "*a*"] * 16) + "/b\n",
    "classes": "[a-" * 2000 + "\n",
    "many lines": "".join(f"x{number}*y\n" for number in range(5000)),
    "no text": b"\xff\xfe\0\n" * 9,
}
MAKES: Mapping[str, Make] = {
    **{f"{path}{_ARROW}{to}": partial(_link, path, to) for path in _LINKED for to in _TARGETS},
    **{
        f"dependency {path}": partial(
            _text, "x/dvc.yaml", STAGE.format(f"deps:\n    - '{path}'\n    outs:\n    - o")
        )
        for path in (
            *("/dev/zero", "OUTSIDE/pipe", "OUTSIDE/folder", "/proc/self", "/proc", "../..", "/"),
            *("../.dvc", "../.git", "../../../../../../../../../usr", "https://127.0.0.1:1/x"),
            *("ssh://-oProxyCommand=touch/x", "s3://nobody/x", "remote://storage/x", "~/x"),
        )
    },
    **{
        f"output {path}": partial(
            _text, "x/dvc.yaml", STAGE.format(f"outs:\n    - '{path}':\n        cache: false")
        )
        for path in ("/dev/zero", "OUTSIDE/pipe", "OUTSIDE/victim", "/proc", "../.git", "/", "..")
    },
    **{
        f"wdir {path}": partial(
            _text, "x/dvc.yaml", STAGE.format(f"wdir: '{path}'\n    deps: [a]\n    outs: [o]")
        )
        for path in ("OUTSIDE/folder", "OUTSIDE/new", "..", "/", "../..", "/dev/zero", "../.dvc")
    },
    **{
        f"parameters in {path}": partial(
            _text,
            "x/dvc.yaml",
            STAGE.format(f"params:\n    - '{path}': [a]\n    outs: [o]"),
        )
        for path in ("/dev/zero", "OUTSIDE/pipe", "OUTSIDE/victim", "/proc/kmsg", "OUTSIDE/huge")
    },
    **{
        f"variables in {path}": partial(
            _text, "x/dvc.yaml", f"vars:\n- '{path}'\n" + STAGE.format("outs: ['${a}']")
        )
        for path in ("/dev/zero", "OUTSIDE/pipe", "OUTSIDE/victim", "/proc/kmsg", "OUTSIDE/huge")
    },
    **{
        f"metafile with {what}": partial(_text, "x/dvc.yaml", text)
        for what, text in {
            "a matrix of billions": "stages:\n  s:\n    matrix:\n"
            + "".join(f"      m{n}: [{', '.join(map(str, range(60)))}]\n" for n in range(6))
            + "    cmd: echo\n    outs: ['${key}']\n",
            "long variables": "vars:\n- a0: "
            + "x" * 10000
            + "\n"
            + "".join(f"- a{n}: '{f'${{a{n - 1}}}' * 10}'\n" for n in range(1, 9))
            + STAGE.format("outs: ['o${a8}']"),
            "long commands": "vars:\n- a: "
            + "x" * 100000
            + "\nstages:\n  s:\n    foreach: ["
            + ", ".join(map(str, range(2000)))
            + "]\n    do:\n      cmd: "
            + "${a}" * 100
            + "\n      outs: ['o${item}']\n",
            "many plots": "plots:\n" + "".join(f"- p{n}: {{x: '/dev/zero'}}\n" for n in range(9)),
            "datasets": "datasets:\n- name: d\n  url: https://127.0.0.1:1/x\n  type: dvc\n"
            + STAGE.format("deps: ['ds://d']\n    outs: [o]"),
            "artifacts": "artifacts:\n  m:\n    path: /dev/zero\n    type: model\n",
            "nested braces": STAGE.format("outs: ['" + "${" * 5000 + "']"),
            "regular expression": STAGE.format("outs: ['" + "${a" * 30000 + "']"),
        }.items()
    },
    **{
        f"{path} of {what}": partial(_text, path, text)
        for path in (".dvcignore", "raw/.dvcignore", ".gitignore", "raw/.gitignore")
        for what, text in _PATTERNS.items()
    },
    ".gitattributes of drivers": _encode,
    ".gitattributes of line ends": partial(_text, ".gitattributes", "* text eol=crlf\n"),
    ".gitattributes of binaries": partial(
        _text, ".gitattributes", "* binary -diff export-ignore\n"
    ),
    ".gitattributes of stars": partial(_text, ".gitattributes", f"**/{_STARS} text\n" * 50),
    "deep folders": partial(_text, f"{_DEEP}/x.dvc", f"outs:\n- md5: {EMPTY}\n  path: o\n"),
    "deep listing of a collection": partial(_text, f"raw/09_new/{_DEEP}/x.txt", "x\n"),
    "names": partial(
        _texts,
        {
            "x/\n\x1b]0;a\x07.dvc": f"outs:\n- md5: {EMPTY}\n  path: o\n",
            "y/-n.dvc": f"outs:\n- md5: {EMPTY}\n  path: --help\n",
            "z/$(touch OUTSIDE)`x`.dvc": f"outs:\n- md5: {EMPTY}\n  path: '$(x)'\n",
        },
    ),
    **{
        f"huge {path}": partial(_repeat, path, start, line)
        for path, start, line in (
            ("raw/07_huge.dvc", "", "# a line\n"),
            (f"{DATASET}/dvc.lock", "schema: '2.0'\nstages:\n", "  # a line\n"),
            (f"{DATASET}/params.yaml", "", "# a line\n"),
            (f"{DATASET}/decisions/x.yaml", "", "# a line\n"),
            (f"{DATASET}/collections.yaml", "collections:\n", "- 'a'\n"),
            ("forgotten.yaml", "", "# a line\n"),
        )
    },
    **{
        f"laughing {path}": partial(_text, path, _ALIASES)
        for path in (
            *(f"{DATASET}/collections.yaml", f"{DATASET}/dvc.lock", f"{DATASET}/params.yaml"),
            *("forgotten.yaml", f"{DATASET}/decisions/x.yaml", f"raw/{NAMES[0]}.dvc"),
            "dagster.yaml",
        )
    },
    **{
        f"deep {path}": partial(_text, path, "a: " + "[" * 50000 + "]" * 50000 + "\n")
        for path in (
            *(f"{DATASET}/collections.yaml", f"{DATASET}/dvc.lock", f"{DATASET}/params.yaml"),
            *("forgotten.yaml", f"{DATASET}/decisions/x.yaml", f"raw/{NAMES[0]}.dvc"),
            *("dagster.yaml", "pyproject.toml", ".dvc/config"),
        )
    },
    **{
        f"setting {what}": partial(_text, ".dvc/config", f"[{text}\n")
        for what, text in {
            "cache in git": "cache]\n    dir = ../.git/objects",
            "cache nowhere": "cache]\n    dir = /dev/zero",
            "cache above": "cache]\n    dir = ../..",
            "remote outside": "'remote \"storage\"']\n    url = OUTSIDE/folder",
            "remote pipe": "'remote \"storage\"']\n    url = OUTSIDE/pipe",
            "remote ssh": "'remote \"storage\"']\n    url = ssh://-oProxyCommand=x/y",
            "remote http": "'remote \"storage\"']\n    url = http://127.0.0.1:1/x",
            "odd": "core]\n    nonsense = 1\n[evil]\n    a = b",
            "locks": "core]\n    hardlink_lock = true\n    check_update = true",
            "exp": "exp]\n    git_remote = ext::sh -c touch%20OUTSIDE/ran\n    auto_push = true",
            "no scm": "core]\n    no_scm = true",
            "autostage": "core]\n    autostage = true",
            "shared": "cache]\n    shared = group\n    type = symlink",
        }.items()
    },
    **{
        f"project {what}": partial(_text, "pyproject.toml", f"[tool.registry_assets]\n{text}\n")
        for what, text in {
            "families above": 'families = ["../*"]',
            "families of stars": f'families = ["{_STARS}/*"]',
            "families of folders": 'families = ["**/*", "*/*/*/*"]',
            "git": 'git = "commit"',
            "mlflow": 'mlflow_tracking_uri = "http://127.0.0.1:1"',
            "workers": "workers = { command = 'touch OUTSIDE/ran' }",
            "take_in": f'take_in = {{ texts = "{_STARS}" }}',
            "branch": 'publish_branch = "--upload-pack={name}"',
        }.items()
    },
    **{f"import of {url}": partial(_import_of, url) for url in _URLS},
    "import of an embedded repository": _embedded,
    "dagster.yaml of code": partial(
        _text,
        "dagster.yaml",
        "python_logs:\n  dagster_handler_config:\n    handlers:\n      h:\n        (): os.system\n"
        "        command: touch OUTSIDE/ran\n",
    ),
    "forged locks": partial(
        _texts,
        {
            ".dvc/tmp/rwlock": '{"/": {"write": {"pid": 1, "cmd": "x"}}}',
            ".dvc/tmp/lock": "1",
            ".dvc/tmp/registry_assets/registry.json": "[" * 100000,
        },
    ),
    "tracked data": partial(
        _texts, {f"raw/{NAMES[0]}/new.txt": "x", ".dvc/cache/files/md5/d4/x": "x"}
    ),
    "tracked settings": partial(
        _texts, {".dvc/config.local": "[cache]\n    dir = OUTSIDE/folder\n", ".env": "A=B\n"}
    ),
    "nested repository": partial(
        _texts, {"raw/06_nested/.dvc/config": "[core]\n", f"raw/{NAMES[0]}/.dvc/config": ""}
    ),
}


def run(order: Order) -> Iterator[Trial]:
    """Looks at each branch in turn, until the order is over."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, hard))
    base = build_base(order.shared / "base").copy(order.scratch / "base")
    _put_outside(base)
    names = [*MAKES]
    order.chance("branches").shuffle(names)
    yield from side_by_side(order, partial(_look_at, order, base, names))
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _put_outside(site: Site) -> None:
    outside = site.place / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "victim").write_text(VICTIM, "utf-8")
    (outside / "folder/victim").write_text(VICTIM, "utf-8")
    os.mkfifo(outside / "pipe")
    with (outside / "huge").open("wb") as huge:
        huge.truncate(2**36)


def _outside(site: Site) -> Mapping[str, object]:
    """All that lies beside a registry and is not its own, with what would tell a change."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(site.place / "outside"):
        for name in (*folders, *files):
            place = Path(folder, name)
            status = place.lstat()
            facts = (status.st_size, status.st_mtime_ns) if name in files else ()
            found[place.relative_to(site.place).as_posix()] = (status.st_mode, *facts)
    return found


def _look_at(order: Order, base: Site, names: list[str], number: int) -> Trial:
    name = names[number % len(names)]
    site = base.copy(order.scratch / f"branch {number}")
    faults = tuple(look_at(site, MAKES[name]))
    if not faults:
        site.remove()
    return Trial(f"branch with {_kind_of(name)}", f"{name}, branch {number}", faults)


def _kind_of(name: str) -> str:
    return "a link" if _ARROW in name else name.split()[0]


def look_at(site: Site, make: Make) -> Iterator[str]:
    """Commits a branch, and looks at it as people do; yields what is wrong."""
    theirs = _push_theirs(site, make)
    before = _outside(site)
    yield from _try(site, _COMMANDS)
    # A clone has no files of its own yet in the place of theirs.
    clone = Site(site.place / "clone")
    clone.place.mkdir()
    clone.temporary.mkdir()
    yield from _try(site, [("clone", str(theirs), str(clone.root))])
    if not clone.root.is_dir():
        subprocess.run(["git", "clone", "--quiet", str(theirs), str(clone.root)], check=False)
    if clone.root.is_dir():
        yield from _try(clone, _IN_A_CLONE)
    after = _outside(site)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name} was changed: {after.get(name)} instead of {before.get(name)}"
    site.check("git", "checkout", "--quiet", "--force", "main")
    yield from _try(site, [("status",)], may_fail=False)
    for process in find_running(site.place):
        yield f"still running: {process.cmdline()}"
        process.kill()


def _push_theirs(site: Site, make: Make) -> Path:
    """Makes the branch in a clone, and fetches it; returns the repository that has it."""
    branch = _Branch(site.place / "theirs", site.place / "outside")
    theirs = site.place / "theirs.git"
    site.check("git", "clone", "--quiet", str(site.root), str(branch.root))
    make(branch)
    for command in (
        ("checkout", "--quiet", "-b", "theirs"),
        ("-c", "core.safecrlf=false", "add", "--force", "--all"),
        ("commit", "--quiet", "--allow-empty", "--message", "Theirs"),
        ("clone", "--quiet", "--bare", ".", str(theirs)),
    ):
        check(branch.root, "git", *command)
    site.check("git", "fetch", "--quiet", str(theirs), "theirs:theirs")
    shutil.rmtree(branch.root)
    return theirs


def _try(site: Site, commands: Sequence[Sequence[str]], *, may_fail: bool = True) -> Iterator[str]:
    for command in commands:
        ended = site.run("registry", *command, kill=Kill(after=_MOST_SECONDS))
        named, said = " ".join(command), ended.output
        if ended.code == -signal.SIGKILL:
            yield f"{named} went on for {_MOST_SECONDS} s: {said[-300:]}"
        elif ended.code not in (0, may_fail) or any(word in said for word in _BUG):
            yield f"{named} ends in {ended.code}: {said[-900:]}"
