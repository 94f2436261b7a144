"""Marks: bound to what was seen, the latest of a marker counts, nothing is lost beside others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import polars as pl
import pytest

from lafid_assets.lake import open_lake
from lafid_assets.review.clip_facts import ClipTables, Decision, decision_of
from lafid_assets.review.marks import DecidedAnew, MarkRefused, all_marks, marks_of, put_mark, take_back
from lafid_assets.schemas import MARKS
from resources.lake.lake import Lake
from resources.settings import Settings
from tests.lafid_assets.review.five_clips import BROKEN, CHANGES, KEPT, NARROW, POLICY, SHARD


def _decision(lake: Lake, clip: str) -> Decision | None:
    with lake.snapshot() as reader:
        return decision_of(ClipTables(reader, clip, SHARD).outcomes())


def _seen(lake: Lake, clip: str) -> Decision:
    decision = _decision(lake, clip)
    assert decision is not None
    return decision


def _marks(lake: Lake, clip: str) -> list[tuple[str, str, str | None]]:
    with lake.snapshot() as reader:
        decision = decision_of(ClipTables(reader, clip, SHARD).outcomes())
        return [(mark.verdict, mark.marker, mark.outdated) for mark in marks_of(reader, clip, decision)]


def test_what_was_decided_is_what_a_mark_is_about(curated: Lake) -> None:
    face, person = POLICY["face"], POLICY["person"]
    assert _decision(curated, KEPT) == Decision("duplicate_clips", "kept", None, face, "sha-kept")
    assert _decision(curated, NARROW) == Decision("pose_filtered_clips", "rejected", "pose_variation_low", face, "sha-narrow")
    assert _decision(curated, CHANGES) == Decision("id_consistent_clips", "rejected", "identity_change", person, "sha-changes")
    assert _decision(curated, BROKEN) is None, "it failed: no rule has decided"


def test_a_mark_is_there_at_once_with_what_was_seen(curated: Lake, settings: Settings) -> None:
    mark_id = put_mark(curated, SHARD, NARROW, _seen(curated, NARROW), "right", "ada", note=" hardly turns ")
    with closing(open_lake(settings, read_only=True)) as another:
        row = another.read(MARKS.name).row(0, named=True)
    assert MARKS.violations(curated.read(MARKS.name)) == []
    said = {"verdict": "right", "fault": "pose_variation_low", "note": "hardly turns", "marker": "ada", "mark_id": mark_id}
    seen = {"clip_id": NARROW, "step": "pose_filtered_clips", "status": "rejected", "reason": "pose_variation_low"}
    seen |= {"policy_sha256": POLICY["face"], "content_sha256": "sha-narrow"}
    assert {name: row[name] for name in said | seen} == said | seen
    assert row["marked_at"].endswith("+00:00")


def test_the_latest_of_a_marker_counts_and_all_stay(curated: Lake) -> None:
    for verdict, marker in (("right", "ada"), ("wrong", "bob"), ("wrong", "ada")):
        put_mark(curated, SHARD, KEPT, _seen(curated, KEPT), verdict, marker)
    assert _marks(curated, KEPT) == [("wrong", "ada", None), ("wrong", "bob", None)]
    assert curated.read(MARKS.name).height == 3


def test_what_is_taken_back_was_never_there(curated: Lake) -> None:
    put_mark(curated, SHARD, KEPT, _seen(curated, KEPT), "right", "ada")
    slip = put_mark(curated, SHARD, KEPT, _seen(curated, KEPT), "wrong", "ada")
    assert not take_back(curated, slip, "bob"), "somebody else's"
    assert take_back(curated, slip, "ada")
    assert not take_back(curated, slip, "ada")
    assert _marks(curated, KEPT) == [("right", "ada", None)]


def test_a_decision_that_changed_since_it_was_shown_cannot_be_marked(
    curated: Lake, decide_anew: Callable[[str, str], None]
) -> None:
    seen = _seen(curated, NARROW)
    decide_anew(NARROW, "policy_sha256 = 'other'")
    with pytest.raises(DecidedAnew, match="decided anew meanwhile"):
        put_mark(curated, SHARD, NARROW, seen, "right", "ada")
    assert curated.read(MARKS.name).is_empty()


def test_marks_on_decisions_of_before_are_known_as_such(curated: Lake, decide_anew: Callable[[str, str], None]) -> None:
    put_mark(curated, SHARD, NARROW, _seen(curated, NARROW), "right", "ada")
    decide_anew(NARROW, "policy_sha256 = 'other'")
    assert _marks(curated, NARROW) == [("right", "ada", None)], "another policy that decides the same"
    decide_anew(NARROW, "reason = 'several_faces'")
    assert _marks(curated, NARROW) == [("right", "ada", "outdated: now rejected (several_faces)")]
    decide_anew(NARROW, "reason = 'pose_variation_low'")
    curated.commit(lambda writer: writer.cursor.execute("UPDATE clips SET content_sha256 = 'new' WHERE clip_id = 'narrow'"))
    assert _marks(curated, NARROW) == [("right", "ada", "outdated: the file has changed since")]


def test_marks_that_say_nothing_are_refused(curated: Lake) -> None:
    seen = _seen(curated, KEPT)
    for verdict, words, message in (
        ("right", {"fault": "several_faces"}, "name no fault"),
        ("wrong", {"fault": "ugly"}, "there is no fault 'ugly'"),
        ("wrong", {"note": "x" * 1001}, "1001 characters"),
        ("perhaps", {}, "verdict: perhaps not in the closed list"),
    ):
        with pytest.raises(MarkRefused, match=message):
            put_mark(curated, SHARD, KEPT, seen, verdict, "ada", **words)  # type: ignore[arg-type]
    assert curated.read(MARKS.name).is_empty()


def test_two_persons_and_a_curation_write_at_once(curated: Lake, settings: Settings) -> None:
    """Each of them has a lake of their own; no mark is lost and no table of the curation either."""
    frames = {"pose_filtered_clips": curated.read("pose_filtered_clips", SHARD)}

    def marked(marker: str) -> None:
        with closing(open_lake(settings)) as lake:
            for verdict in ("right", "wrong", "right"):
                put_mark(lake, SHARD, KEPT, _seen(lake, KEPT), verdict, marker)  # type: ignore[arg-type]

    def curates() -> None:
        with closing(open_lake(settings)) as lake:
            for round_number in range(3):
                lake.put(frames, SHARD, f"f{round_number}")

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(marked, "ada"), pool.submit(marked, "bob"), pool.submit(curates)]:
            done.result()
    with curated.snapshot() as reader:
        assert all_marks(reader).select("marker", "verdict").rows() == [("ada", "right"), ("bob", "right")]
    assert curated.read(MARKS.name).group_by("marker").agg(pl.len()).sort("marker").rows() == [("ada", 3), ("bob", 3)]
    assert curated.stamps(["pose_filtered_clips"])["pose_filtered_clips", SHARD].fingerprint == "f2"


def test_a_lake_of_a_time_before_marks_has_none(curated: Lake) -> None:
    curated.commit(lambda writer: writer.cursor.execute("DROP TABLE marks"))
    assert _marks(curated, KEPT) == []
    with curated.snapshot() as reader:
        assert all_marks(reader).schema == MARKS.frame([]).schema
