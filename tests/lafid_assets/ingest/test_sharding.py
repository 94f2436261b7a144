"""Names and members of new shards."""

import itertools

import polars as pl
import pytest

from lafid_assets.ingest.registration import into_shards, shard_name


def _files(*paths: str, root: str = "/r") -> pl.DataFrame:
    return pl.DataFrame(
        {"clip_root": [root] * len(paths), "path": paths, "released_id": [None] * len(paths)},
        schema={"clip_root": pl.String, "path": pl.String, "released_id": pl.String},
    )


def test_files_fill_shards_in_their_order_and_numbers_go_on() -> None:
    shards = into_shards(_files(*"abcde"), 2, known_shards=7)
    assert shards["path"].to_list() == list("abcde")
    assert [name[:12] for name in shards["shard"]] == ["shard-00007-"] * 2 + ["shard-00008-"] * 2 + ["shard-00009-"]
    assert shards["shard"].str.contains("^shard-[0-9]{5}-[0-9a-f]{8}$").all()
    assert shards["shard"].n_unique() == 3


def test_nothing_new_makes_no_shard() -> None:
    empty = into_shards(_files(), 2, 3)
    assert (empty.height, empty.schema["shard"]) == (0, pl.String)


def test_a_shard_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="not 0"):
        into_shards(_files("a"), 0, 0)


def test_same_members_have_the_same_name_in_any_order() -> None:
    assert {shard_name(3, _files(*order)) for order in itertools.permutations("abc")} == {shard_name(3, _files(*"abc"))}
    assert shard_name(3, _files("a")) == "shard-00003-65506ba6", "names are for ever: a store holds them"


def test_other_members_have_another_name() -> None:
    others = [_files("a"), _files("b"), _files("a", "b"), _files("ab"), _files("a", root="/s"), _files("r/a", root="/")]
    others += [_files("").with_columns(released_id=pl.lit(name)) for name in ("x", "y")]
    assert len({shard_name(0, members) for members in others}) == len(others)
