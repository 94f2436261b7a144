"""The figures of one shard in one step."""

import polars as pl

from lafid_assets.checks.shard_rates import shard_rates


def _ended(*endings: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(endings, schema={"status": pl.String, "reason": pl.String}, orient="row")


def test_rates_are_shares_of_the_clips_that_came_to_the_step() -> None:
    ended = [("ok", None), ("rejected", "no_face"), ("error", "crashed"), ("timeout", "deadline"), ("skipped", "duplicate")]
    figures = shard_rates(_ended(*ended, *[("skipped", "upstream")] * 5))
    assert (figures["keep_rate"], figures["error_rate"]) == (1 / 5, 2 / 5)
    assert (figures["clips_ok"], figures["clips_timeout"], figures["clips_skipped"]) == (1, 1, 6)


def test_a_status_that_no_clip_has_is_a_point_of_its_plot() -> None:
    assert shard_rates(_ended(("ok", None)))["clips_error"] == 0


def test_where_no_clip_came_there_is_no_rate() -> None:
    for ended in (_ended(("skipped", "upstream")), _ended()):
        assert not {"keep_rate", "error_rate"} & set(shard_rates(ended))
