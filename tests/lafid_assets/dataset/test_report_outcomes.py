"""How clips ended, by shard and by fault."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import POLICIES
from lafid_assets.dataset import report_outcomes
from lafid_assets.dataset.report_outcomes import GONE, MOST_EXAMPLES, count_shards, decided_by, failed_clips
from lafid_assets.outcomes import REASONS, Reason, Status, is_decision
from lafid_assets.schemas import CLIP_CONTENTS, CLIP_FILES, CLIP_ROOTS, CLIP_ROWS, CLIPS, DATASET_OUTCOMES, FACE_CLIPS
from resources.lake.reader import Reader

TABLES = (CLIPS, CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS, FACE_CLIPS)
VERSION = {"number": 2}
ENDED: dict[str, tuple[str, str, str]] = {
    "kept": ("kept", "", ""),
    "rejected": ("rejected", "pose_filtered_clips", "static"),
    "settled": ("skipped", "face_clips", "split"),
    "failed": ("error", "face_clips", "crashed"),
    "missing": ("skipped", "raw_clips", "file_missing"),
    "waits": ("skipped", "reference_crops", "not_processed"),
}


@pytest.fixture
def ended(
    reader_of: Callable[[dict[str, pl.DataFrame]], Reader], row_of: Callable[..., dict[str, Any]]
) -> Callable[[Sequence[tuple[str, str, str]]], Reader]:
    """Clips as (id, shard, how of `ENDED`) in version 2; in 1 all were kept, and in 3 none came in."""

    def make(clips: Sequence[tuple[str, str, str]]) -> Reader:
        log, rows = [], {table.name: [] for table in TABLES}
        for clip, shard, how in clips:
            status, step, reason = ENDED[how]
            log += [(clip, 1, "kept", "", ""), (clip, 2, status, step, reason), (clip, 3, None, None, None)]
            if shard == GONE:
                continue
            known, file = {"clip_id": clip, "shard": shard}, {"shard": shard, "clip_root": "/f", "path": f"{clip}.mp4"}
            rows[CLIPS.name].append(row_of(CLIPS, **known, detail="by clips" if step == "raw_clips" else None))
            rows[CLIP_FILES.name].append(row_of(CLIP_FILES, **file))
            rows[CLIP_ROWS.name].append(row_of(CLIP_ROWS, **file, source="a film"))
            rows[CLIP_CONTENTS.name].append(row_of(CLIP_CONTENTS, **file, clip_id=clip, clip_shard=shard))
            rows[FACE_CLIPS.name].append(row_of(FACE_CLIPS, **known, detail="by face_clips" if step == "face_clips" else None))
        tables = {
            table.name: table.frame(rows[table.name]) for table in (CLIPS, CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS, FACE_CLIPS)
        }
        tables[CLIP_ROOTS.name] = CLIP_ROOTS.frame([row_of(CLIP_ROOTS, clip_root="/f")])
        names = tuple(DATASET_OUTCOMES.dtypes)
        tables[DATASET_OUTCOMES.name] = DATASET_OUTCOMES.frame(dict(zip(names, row, strict=True)) for row in log)
        return reader_of(tables)

    return make


Ended = Callable[[Sequence[tuple[str, str, str]]], Reader]


def test_every_clip_is_counted_in_its_shard_the_worst_first(ended: Ended) -> None:
    clips = [("a", "one", "kept"), ("b", "one", "rejected"), ("c", "two", "kept"), ("d", "three", "kept")]
    clips += [("e", "three", "failed"), ("f", "three", "missing"), ("g", "one", "settled"), ("h", GONE, "waits")]
    shown = count_shards(ended(clips), VERSION).shown
    assert [tuple(row.values()) for row in shown] == [
        ("three", 3, 1, 0, 2, 0),
        (GONE, 1, 0, 0, 1, 0),
        ("one", 3, 1, 1, 0, 1),
        ("two", 1, 1, 0, 0, 0),
    ]
    assert list(shown[0]) == ["shard", "clips", "kept", "rejected", "failed", "skipped"]


def test_of_many_shards_the_worst_are_shown_some_at_a_time(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_outcomes, "MOST_SHARDS", 5)
    monkeypatch.setattr(report_outcomes, "SHARDS_A_PAGE", 2)
    shards = count_shards(ended([(f"{n}", f"s{n}", "failed" if n == 6 else "kept") for n in range(7)]), VERSION)
    assert [len(page) for page in shards.pages] == [2, 2, 1]
    assert shards.pages[0][0]["shard"] == "s6"
    assert (shards.left, shards.left_clips, shards.left_kept) == (2, 2, 2)


def test_what_failed_says_why_and_what_to_do(ended: Ended) -> None:
    clips = [("a", "one", "failed"), ("b", "one", "failed"), ("c", "two", "missing"), ("d", GONE, "waits")]
    found = failed_clips(ended([*clips, ("e", "one", "settled"), ("f", "one", "rejected"), ("g", "one", "kept")]), VERSION)
    assert [(failed.status, failed.step, failed.reason, failed.clips) for failed in found] == [
        ("error", "face_clips", "crashed", 2),
        ("skipped", "raw_clips", "file_missing", 1),
        ("skipped", "reference_crops", "not_processed", 1),
    ]
    assert found[0].advice == REASONS[Status.ERROR][Reason.CRASHED]
    told = [{name: example[name] for name in ("clip_id", "path", "source", "detail")} for example in found[0].examples]
    assert told == [{"clip_id": c, "path": f"{c}.mp4", "source": "a film", "detail": "by face_clips"} for c in "ab"]
    assert found[1].examples[0]["detail"] == "by clips"
    assert found[2].examples == [{"clip_id": "d", "path": None, "source": None, "caption": None, "detail": None}]


def test_all_are_counted_and_some_named(ended: Ended) -> None:
    [failed] = failed_clips(ended([(f"{n:03}", "one", "failed") for n in range(MOST_EXAMPLES + 5)]), VERSION)
    assert (failed.clips, len(failed.examples)) == (MOST_EXAMPLES + 5, MOST_EXAMPLES)


def test_nothing_failed_is_no_line(ended: Ended) -> None:
    assert failed_clips(ended([("a", "one", "kept"), ("b", "one", "rejected")]), VERSION) == []


def test_the_rule_in_sql_is_that_of_the_outcomes() -> None:
    """`is_decision`, of all that there is."""
    ways = [(str(status), str(reason)) for status, reasons in REASONS.items() for reason in reasons]
    rows = pl.DataFrame(ways, schema=("status", "reason"), orient="row")
    failed = rows.sql(f"SELECT status, reason FROM self WHERE {report_outcomes._IS_FAILED}").rows()
    assert set(failed) == {way for way in ways if not is_decision(*way)}


@pytest.mark.parametrize(("policy", "said"), [("cofe", False), ("faithfulfaces", True)])
def test_policies_models_and_licences(policy: str, said: bool) -> None:
    policies = pl.DataFrame({"policy_sha256": "sha", "settings": POLICIES[policy].model_dump_json(), "frames": [10.0]})
    engines = pl.DataFrame({"what": "dlib 20", "licence": "NC", "clips": [2]})
    sources = pl.DataFrame({"what": "a film", "licence": "CC0-1.0", "clips": [1]})
    lines = decided_by(policies, engines, sources, {"aesthetic_low": 2})
    told = dict(lines)
    assert [what for what, _ in lines] == [
        f"face policy {policy}",
        f"measured for {policy}",
        "not judged",
        "face engine",
        "kept from",
    ]
    asked = f"pose_variation_deg at least {POLICIES[policy].pose_variation_min_deg:g}"
    assert asked in told[f"face policy {policy}"]
    assert "luminance_min" not in told[f"face policy {policy}"], "rules that are off are not told"
    assert "10 frames a clip (median)" in told[f"measured for {policy}"]
    assert ("the paper measures every frame" in told[f"measured for {policy}"]) == said
    assert told["not judged"].startswith("aesthetic_low: 2 clips")
    assert told["face engine"] == "dlib 20 (licence: NC): 2 clips"
    assert told["kept from"] == "a film (licence: CC0-1.0): 1 clips"


def test_policy_under_which_no_frame_was_sampled() -> None:
    policies = pl.DataFrame({"policy_sha256": "sha", "settings": POLICIES["cofe"].model_dump_json(), "frames": [None]})
    nothing = pl.DataFrame(schema={"what": pl.String, "licence": pl.String, "clips": pl.Int64})
    assert dict(decided_by(policies, nothing, nothing, {}))["measured for cofe"].startswith("no frame, sampled evenly")
