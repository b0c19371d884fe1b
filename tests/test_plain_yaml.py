"""The plain form of YAML is read as DVC's own parser reads it, or left to that parser."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import YAMLError, dumps_yaml, parse_yaml

from registry_assets.dvc_repo.plain_yaml import dumps, read_plain

MD5 = "00000000000000000000000000000ace"
LONG = (
    "python src/measure_images.py --threshold 20 data/inputs/01_a_long_name data/outputs/"
    + "x" * 40
)
LOCK: dict[str, Any] = {
    "schema": "2.0",
    "stages": {
        "measure@01_b": {
            "cmd": LONG,
            "deps": [
                {"path": f"data/{'long/' * 20}in", "hash": "md5", "md5": f"{MD5}.dir", "size": 0},
                {"path": "2021-10-16_garden", "md5": MD5, "size": 12, "isexec": True},
            ],
            "params": {"params.yaml": {"fog": 0.5, "offset": -3, "say": "it is"}},
            "outs": [{"path": "out", "files": [{"relpath": "a/b", "md5": MD5}]}],
        },
        "twice": {"cmd": ["first", "second --all"]},
    },
}
WORDS = [
    "python",
    "src/measure.py",
    "--threshold",
    "20",
    "&&",
    "data/inputs/01_a",
    "01",
    "a",
    "on",
    MD5,
]
PARTS = [
    *" \n-:#'\"\\,[]{}&*!|>%@`?~=<.0189abefxotzTZ_/+nyN\t\ré\x85\u2028",
    *("  ", "- ", ": ", " #", "\n  ", "\n- ", "null", "true", "1e3", "0x1f", "2021-10-16"),
    *("1_000", "---", "...", " &a", "*a", "<<: ", "!!str ", "1:30", "._6", "0o17", ".nan"),
]


def assert_read_alike(text: str) -> bool:
    """Whether a text was in the plain form; if so, it has to be read as by DVC's parser."""
    found = read_plain(text)
    if found is None:
        return False
    try:
        expected = parse_yaml(text, "a text")
    except (YAMLError, ValueError) as error:
        raise AssertionError(f"{text!r} was read as {found}") from error
    # True equals 1, and 1.0 as well.
    assert repr(found) == repr(expected), text
    return True


def test_what_dvc_prints_is_in_the_plain_form() -> None:
    text = dumps_yaml(LOCK)
    assert "\n        " in text, "nothing was folded"
    assert read_plain(text) == LOCK
    shipped = Path(__file__).parents[1] / "processed/01_image_dataset/dvc.lock"
    assert assert_read_alike(shipped.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a",
            "a b",
            "a:b",
            "a#b",
            "--x".lstrip("-"),
            "/in",
            "../in",
            ".hidden",
            "01_b",
            "2021/10",
        ),
        *("'01'", '"01"', "''", "0", "-5", "20.25", "true", "false", MD5, f"{MD5}.dir"),
    ],
)
def test_what_can_be_one_thing_only_is_in_the_plain_form(value: str) -> None:
    assert assert_read_alike(f"a: {value}\nb:\n- {value}\n- c: {value}\n  d: {value}\n")


@pytest.mark.parametrize(
    "value",
    [
        *("null", "~", "", "yes", "Off", "TRUE", ".inf", "._6", ".5", "1e3", "01", "1_0", "0x1f"),
        *("2021-10-16", "2021-10-16 10:00:00", "1:30", "12e03", "&a b", "*a", "!x y"),
        *("a: b", "a:", "a #b", "# a", "[a]", "{a: b}", "|", ">-", '"\\n"', "'it''s'", "é", "a\tb"),
    ],
)
def test_what_may_be_something_else_is_left_to_the_parser(value: str) -> None:
    assert read_plain(f"a: {value}\n") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "a: b", "a", "- a\n", "a: b\na: c\n", "a:\n", "a:\nb: c\n", "a: b\n\nc: d\n"),
        *("# of ours\na: b\n", "a:\n  b: c\n d: e\n", "a: b\n  c: d\n", "a:\n- b\n  - c\n"),
        *(
            "a: b\r\n",
            "---\na: b\n",
            "1: a\n",
            "null: a\n",
            "<<: a\n",
            "a: 'b'\n  c\n",
            "a: 1\n  2\n",
        ),
    ],
)
def test_what_is_laid_out_in_another_way_is_left_to_the_parser(text: str) -> None:
    assert read_plain(text) is None


def test_whatever_becomes_of_a_text_it_is_read_as_by_the_parser() -> None:
    chance = random.Random(1)
    texts = [dumps_yaml(LOCK), dumps_yaml({"frozen": True, "outs": LOCK["stages"]["twice"]["cmd"]})]
    plain = 0
    for _ in range(2000):
        text = chance.choice(texts)
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(text) + 1)
            text = text[:start] + chance.choice(PARTS) + text[start + chance.choice((0, 0, 1, 2)) :]
        plain += assert_read_alike(text)
    assert plain > 200


def test_what_is_printed_is_what_dvc_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(2)
    by_library = 0

    def count(data: Any) -> str:
        nonlocal by_library
        by_library += "schema" in data
        return str(dumps_yaml(data))

    cases = [LOCK, *(_random_entry(chance) for _ in range(400))]
    expected = [dumps_yaml(data) for data in cases]
    monkeypatch.setattr("dvc.utils.serialize.dumps_yaml", count)
    assert [dumps(data) for data in cases] == expected
    assert 40 < by_library < 200


def _random_entry(chance: random.Random) -> dict[str, Any]:
    """An entry as in ``dvc.lock``, with some odd text in one of three."""

    def text() -> str:
        words = [
            chance.choice(WORDS) * chance.choice((1, 1, 1, 4)) for _ in range(chance.randint(1, 9))
        ]
        if chance.random() < 0.04:
            words.insert(chance.randrange(len(words) + 1), chance.choice(PARTS))
        return "run/" + chance.choice((" ", " ", "/", "_")).join(words)

    def number() -> object:
        odd = chance.random() < 0.04
        return chance.choice(
            (1e-5, 1e22, None) if odd else (0, -3, 10**12, 0.5, -2.25, True, False)
        )

    dep = {"path": text(), "hash": "md5", "md5": MD5, "size": number()}
    values = {
        f"threshold_{n}": chance.choice((number, text))() for n in range(chance.randint(1, 3))
    }
    return {
        "schema": "2.0",
        "stages": {
            f"measure@{chance.randint(0, 10**9)}": OrderedDict(
                cmd=chance.choice((text(), [text(), text()])),
                deps=[dep, OrderedDict(dep, path=text())],
                params={"params.yaml": values},
                outs=[{"path": text(), "files": [dict(dep)] if chance.random() < 0.9 else []}],
            )
        },
    }


def test_what_occurs_twice_gets_an_anchor_as_by_dvc() -> None:
    shared = {"path": "a"}
    assert "&id001" in dumps({"deps": [shared], "outs": [shared]})
    assert dumps([]) == dumps_yaml([])
