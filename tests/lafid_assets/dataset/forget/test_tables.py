"""Out of the lake's tables alone: which rows and files are touched."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.dataset.forget.subject import identify
from lafid_assets.dataset.forget.tables import rows_left, scrub_tables
from lafid_assets.schemas import MARKS
from resources.lake.duckdb_extensions import quoted


def test_only_what_holds_them_is_touched(installation: Any) -> None:
    """A file without rows of theirs stays as it is, and so does a table without."""
    lake, others = installation.lake, {}
    for table in ("face_info", "face_frames"):
        others[table] = lake.read(table).with_columns(clip_id=pl.col("clip_id") + "-other", shard=pl.lit("other"))
    lake.put(others, "other", "f")
    files, stamps = installation.store.list_tree("tables"), lake.stamps()
    scrub_tables(lake, identify(lake, [installation.clip("a")], [], delete_files=False), dry_run=False)
    untouched = [path for path in installation.store.list_tree("tables") if path in files]
    assert [path.split("/")[2] for path in untouched if "/face_" in path] == ["face_frames", "face_info"]
    unchanged = {slot for slot, stamp in lake.stamps().items() if stamp == stamps[slot]}
    assert {("face_info", "other"), ("face_frames", "other"), ("clip_roots", "all"), ("fusion_dit", "all")} <= unchanged


def test_clips_with_short_ids_go_from_lists_of_other_clips(installation: Any) -> None:
    lake, b = installation.lake, installation.clip("b")
    listed = "[{'clip_id': 'anna', 'reference_index': 0}, {'clip_id': 'annabel', 'reference_index': 0}]"
    lake.commit(
        lambda writer: writer.cursor.execute(f"UPDATE lafid_dataset SET cross_references = {listed} WHERE clip_id = '{b}'")
    )
    subject = identify(lake, [installation.clip("d")], [], delete_files=False)
    subject = subject.model_copy(update={"clip_ids": (*subject.clip_ids, "anna")})
    assert "lafid_dataset" in rows_left(lake, subject)
    scrub_tables(lake, subject, dry_run=False)
    assert rows_left(lake, subject) == []
    left = lake.sql("SELECT cross_references FROM lafid_dataset WHERE clip_id = ?", [b])["cross_references"].item().to_list()
    assert [reference["clip_id"] for reference in left] == ["annabel"]


def test_marks_go_with_their_clips(installation: Any, row_of: Callable[..., dict[str, Any]]) -> None:
    """Also out of the notes on others, where a note holds a caption: one that asks something, too."""
    lake, a, b = installation.lake, installation.clip("a"), installation.clip("b")
    subject = identify(lake, [a], [], delete_files=False)
    subject = subject.model_copy(update={"captions": (*subject.captions, "who is the person in the hat?")})
    notes = {a: None, b: f"the same as {a}: who is the person in the hat?"}
    lake.put({MARKS.name: MARKS.frame(row_of(MARKS, mark_id=clip, clip_id=clip, note=note) for clip, note in notes.items())})
    assert MARKS.name in rows_left(lake, subject)
    scrub_tables(lake, subject, dry_run=False)
    assert rows_left(lake, subject) == []
    [(clip, note)] = lake.read(MARKS.name, columns=["clip_id", "note"]).rows()
    assert clip == b
    assert a not in note
    assert "hat" not in note


def test_texts_in_lists_go_whatever_their_quotation_marks(installation: Any) -> None:
    lake, c, said = installation.lake, installation.clip("c"), 'it\'s "she", who turns'
    lake.commit(
        lambda writer: writer.cursor.execute(
            f"UPDATE lafid_dataset SET model_licences = [{quoted(f'seen where {said}')}] WHERE clip_id = '{c}'"
        )
    )
    subject = identify(lake, [installation.clip("a")], [], delete_files=False)
    subject = subject.model_copy(update={"captions": (*subject.captions, said)})
    scrub_tables(lake, subject, dry_run=False)
    assert rows_left(lake, subject) == []
    [listed] = lake.sql("SELECT model_licences FROM lafid_dataset WHERE clip_id = ?", [c])["model_licences"].to_list()
    assert listed == ["seen where [forgotten]"]


def test_a_row_in_another_shard_is_found_afterwards(installation: Any) -> None:
    lake = installation.lake
    subject = identify(lake, [installation.clip("a")], [], delete_files=False)
    scrub_tables(lake, subject, dry_run=False)
    assert rows_left(lake, subject) == []
    of_a = {"clip_id": pl.lit(installation.clip("a")), "shard": pl.lit("other")}
    lake.put({"face_frames": lake.read("face_frames")[:1].with_columns(**of_a)}, "other", "f")
    assert rows_left(lake, subject) == ["face_frames"]
