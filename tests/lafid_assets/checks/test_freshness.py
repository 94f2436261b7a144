"""How long has new content waited for the tables that are made of it?"""

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.waiting import WAITING, freshness

ASSETS = ("raw_clips", "face_info", "lafid_dataset")


def _waits(*rows: tuple[str, float | None]) -> pl.DataFrame:
    listed = [(asset, f"shard-{number}", hours, hours is None) for number, (asset, hours) in enumerate(rows)]
    return pl.DataFrame(listed, schema=WAITING, orient="row")


def test_content_that_waits_too_long_is_named_with_its_hours() -> None:
    waits = _waits(("face_info", 3.0), ("face_info", 40.0), ("raw_clips", 35.0), ("lafid_dataset", None))
    passed, said, figures = freshness(waits, ASSETS, CheckBounds())
    assert not passed
    assert said == "new content waits too long: face_info for 40 h"
    assert figures == {"hours_raw_clips_waits": 35.0, "hours_face_info_waits": 40.0, "hours_lafid_dataset_waits": 0.0}


def test_an_asset_may_have_a_bound_of_its_own() -> None:
    waits = _waits(("face_info", 40.0), ("lafid_dataset", 13.0))
    judged = freshness(waits, ASSETS, CheckBounds(longest_wait_hours_of={"face_info": 50.0, "lafid_dataset": 12.0}))
    assert judged.said == "new content waits too long: lafid_dataset for 13 h"


def test_a_table_at_rest_is_fresh() -> None:
    assert freshness(_waits(), ASSETS, CheckBounds()).passed
    assert freshness(_waits(("face_info", None)), ASSETS, CheckBounds()).passed, "other settings are no new content"
