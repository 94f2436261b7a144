"""What a dataset may lose: what was decided about, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.funnel import read_outcomes
from lafid_assets.dataset.lafid_dataset import NEEDED, put_together
from lafid_assets.dataset.refusals import ClipsLost, refuse_lost
from lafid_assets.ingest.tombstones import write_tombstones
from resources.lake.reader import Reader
from resources.store.file_store import FileStore

Tables = dict[str, pl.DataFrame]
PERSONS = {"a": "p", "b": "p", "c": "q", "d": "r"}
FAILED = {"status": "error", "reason": "decode_failed", "keep": False}


@pytest.fixture
def refuse(
    reader_of: Callable[[Mapping[str, pl.DataFrame]], Reader], store: FileStore, tmp_path: Path
) -> Callable[[Tables, Tables], None]:
    """The dataset of the first tables stands; what the second ones say comes now."""

    def go(before: Tables, now: Tables) -> None:
        for folder in ("before", "now"):
            (tmp_path / folder).mkdir(exist_ok=True)
        standing = put_together(reader_of(before), tmp_path / "before").rows
        reader = reader_of(now | {"lafid_dataset": standing})
        refuse_lost(reader, read_outcomes(reader, tmp_path / "now", NEEDED), store)

    return go


def _ended(tables: Tables, table: str, clip: str, values: dict[str, Any]) -> Tables:
    rows = [
        row | {name: value for name, value in values.items() if name in row and row["clip_id"] == clip}
        for row in tables[table].to_dicts()
    ]
    return tables | {table: pl.DataFrame(rows, schema=tables[table].schema)}


def _without(tables: Tables, clip: str, *names: str) -> Tables:
    return tables | {name: tables[name].filter(pl.col("clip_id") != clip) for name in names}


def test_the_same_and_more_is_no_loss(refuse: Any, curated: Any) -> None:
    refuse(curated(PERSONS), curated(PERSONS | {"e": "q"}))


@pytest.mark.parametrize(
    ("table", "ending"),
    [
        ("pose_filtered_clips", {"status": "rejected", "reason": "static", "keep": False}),
        ("duplicate_clips", {"status": "rejected", "reason": "near_duplicate"}),
        ("clips", {"status": "skipped", "reason": "duplicate"}),
        ("clips", {"status": "skipped", "reason": "forgotten"}),
    ],
)
def test_a_decision_takes_a_clip_away(refuse: Any, curated: Any, table: str, ending: dict[str, Any]) -> None:
    tables = curated(PERSONS)
    refuse(tables, _ended(tables, table, "c", ending))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tables: _ended(tables, "face_clips", "c", FAILED), "1 error: decode_failed"),
        (lambda tables: _ended(tables, "clips", "c", {"status": "skipped", "reason": "file_missing"}), "1 skipped: file_missing"),
        (lambda tables: _without(tables, "c", "speech_info", "speech_tagged_clips"), "1 skipped: not_processed"),
        (lambda tables: _without(tables, "c", "reference_crops"), "1 skipped: not_processed"),
        (
            lambda tables: _without(tables, "c", *(name for name in tables if "clip_id" in tables[name].columns)),
            "1 no longer there",
        ),
    ],
    ids=["failed", "away", "unfinished", "without crops", "without any row"],
)
def test_a_clip_that_nobody_decided_about_is_named(
    refuse: Any, curated: Any, change: Callable[[Tables], Tables], told: str
) -> None:
    """A refresh in the middle of a curation once published a smaller dataset without a word."""
    tables = curated(PERSONS)
    with pytest.raises(
        ClipsLost, match=rf"^1 clips of the last dataset would be gone .*\({told}\), the first c, of shard-00000:.*lost_clips"
    ):
        refuse(tables, change(tables))


def test_a_clip_whose_file_was_replaced_is_another(refuse: Any, curated: Any) -> None:
    tables = curated(PERSONS)
    gone = _without(tables, "c", *(name for name in tables if "clip_id" in tables[name].columns and name != "clip_contents"))
    contents = tables["clip_contents"].with_columns(
        content_sha256=pl.when(pl.col("path") == "c").then(pl.lit("another")).otherwise("content_sha256")
    )
    refuse(tables, gone | {"clip_contents": contents})
    unread = contents.with_columns(content_sha256=pl.when(pl.col("path") != "c").then("content_sha256"))
    with pytest.raises(ClipsLost, match="1 no longer there"):
        refuse(tables, gone | {"clip_contents": unread})


def test_a_tombstone_takes_a_clip_away(refuse: Any, curated: Any, store: FileStore) -> None:
    tables = curated(PERSONS)
    write_tombstones(store, ["c"], [])
    refuse(tables, _without(tables, "c", *(name for name in tables if "clip_id" in tables[name].columns)))


def test_a_recording_that_is_cut_otherwise_keeps_none_of_its_shots(
    refuse: Any, curated: Any, as_pieces: Callable[[Tables, str, Sequence[str]], Tables]
) -> None:
    """And one whose look failed loses all of them."""
    before = as_pieces(curated(PERSONS), "r", ["a", "b"])
    gone = before
    for shot in ("a", "b"):
        gone = _without(gone, shot, *(name for name in gone if "clip_id" in gone[name].columns))
    refuse(before, gone)
    with pytest.raises(ClipsLost, match="2 no longer there"):
        refuse(before, _ended(gone, "face_clips", "r", FAILED))
