"""YAML as recipes have it: the core schema, keys that are text, and the line of everything."""

from __future__ import annotations

import pytest

from invertory.pipelines.recipe.yaml_lines import read


def test_yaml_scalars_follow_the_core_schema():
    text = "{a: no, b: 12:30, c: 1_000, d: 1e-3, e: 010, f: 2021-01-01, g: ~, h: '1', i: True}"
    assert read(text).value == {
        "a": "no", "b": "12:30", "c": 1000, "d": 1e-3, "e": 10, "f": "2021-01-01", "g": None,
        "h": "1", "i": True,
    }  # fmt: skip


def test_a_key_called_no_is_text():
    assert read("no: 1\non: 2\n").value == {"no": 1, "on": 2}


def test_anchors_and_merges_keep_their_lines():
    document = read("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\nc: *a\n")
    assert document.value == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    assert (document.line(("b", "x")), document.line(("b", "y"))) == (2, 5)
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' occurs twice, first on line 1; remove one"),
        ("a: 1\n2: b\n", 2, "a key must be text, got 2"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "is not understood"),
        ("a: !secret x\n", 1, "tag '!secret' is not understood"),
        ("a: &a [*a]\n", 1, "an anchor that contains itself"),
        ("a:\n  <<: [1]\n", 2, "'<<' merges mappings only"),
        ("a: 1\nb: [\n", 3, "not YAML"),
        ("a: 1\n---\nb: 1\n", 2, "not YAML"),
        ("[" * 5000, 1, "nested too deeply"),
        ("a: \0\n", 1, "not YAML"),
        ("a: 1e999\n", 1, "expected a finite number, got inf"),
    ],
)
def test_what_yaml_may_not_hold_is_told_with_its_line(text, line, expected):
    problem = read(text).problems[0]
    assert (problem.line, expected in problem.text) == (line, True), problem


def test_anchors_that_unfold_without_end_are_stopped():
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert any("unfolds without end" in p.text for p in read("\n".join(lines)).problems)
