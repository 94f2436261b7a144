"""Are all tables decided by what `lafid.toml` says now?"""

import polars as pl

from lafid_assets.checks.waiting import WAITING, settings_differ

NOTHING = pl.DataFrame(schema=WAITING)


def test_tables_under_one_setting_pass() -> None:
    passed, said, figures = settings_differ([], [], NOTHING)
    assert passed
    assert said == "all tables are decided by what lafid.toml says"
    assert set(figures.values()) == {0}


def test_lines_that_differ_are_told_and_counted() -> None:
    passed, said, figures = settings_differ([f"face_info.line{number}: 1 -> 2" for number in range(5)], [], NOTHING)
    assert not passed
    assert "face_info.line0: 1 -> 2" in said
    assert said.endswith("and 2 more")
    assert figures["lines_that_differ"] == 5


def test_shards_under_different_settings_are_told() -> None:
    passed, said, figures = settings_differ([], ["pose_filtered_clips of one and two by another policy_sha256"], NOTHING)
    assert not passed
    assert said == "the shards stand under different settings: pose_filtered_clips of one and two by another policy_sha256"
    assert figures["tables_of_mixed_settings"] == 1


def test_shards_that_were_decided_otherwise_since_are_counted_and_waiting_ones_are_not() -> None:
    rows = [("face_info", "one", None, True), ("face_info", "two", 3.0, False), ("raw_clips", "three", None, False)]
    passed, said, figures = settings_differ([], [], pl.DataFrame(rows, schema=WAITING, orient="row"))
    assert not passed
    assert said.startswith("1 tables would be decided otherwise now")
    assert figures["decided_otherwise"] == 1
