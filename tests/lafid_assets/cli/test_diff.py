"""`lafid diff`."""

import json
from collections.abc import Callable
from typing import Any


def test_table_and_object_say_the_same(lafid: Callable[..., Any], keep_dataset: Callable[..., None]) -> None:
    keep_dataset("aa11", {"a": "CC0-1.0", "b": "CC0-1.0"})
    keep_dataset("bb22", {"a": "unstated", "c": "CC0-1.0"}, rejected=("b",))
    shown = lafid("diff", "aa", "bb")
    assert shown.code == 0, shown.err
    assert "From version aa11 to bb22" in shown.out
    assert "2 clips before, 2 after: 1 came, 1 went, 1 changed" in shown.out
    assert "of those that went, 1 by a decision, 0 by anything else" in shown.out
    diff = json.loads(lafid("diff", "aa", "latest", "--json").out)
    assert [(row["clip_id"], row["change"]) for row in diff["rows"]] == [("c", "came"), ("a", "changed"), ("b", "went")]
    assert diff["rows"][2]["why"] == "rejected by pose_filtered_clips: no_face"
    assert (diff["versions"], diff["clips"], diff["rules_differ"]) == (["aa11", "bb22"], [2, 2], False)


def test_same_version_twice_is_said_in_two_lines(lafid: Callable[..., Any], keep_dataset: Callable[..., None]) -> None:
    version = "a1" * 8
    keep_dataset(version, {"a": "CC0-1.0"})
    ended = lafid("diff", "latest", "latest")
    assert ended.out.splitlines() == [
        f"From version {version} to {version}",
        "1 clips before, 1 after: 0 came, 0 went, 0 changed",
    ]


def test_unknown_versions_are_named(lafid: Callable[..., Any], keep_dataset: Callable[..., None]) -> None:
    keep_dataset("aa11", {"a": "CC0-1.0"})
    assert "no version begins with 'zz': there are aa11" in lafid("diff", "aa", "zz").error
