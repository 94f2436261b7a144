"""Cases of a bench drawn and measured; what a case does not allow is NULL with its reason, not an end; nothing is drawn twice."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.release import evaluation, evaluation_child
from lafid_assets.release.evaluation import EvaluationFailed, choose_cases, evaluate
from lafid_assets.release.evaluation_tasks import Subject, case_tasks, measures_path, size_of, video_path
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from model.clip_size import Bucket, ClipSize
from model.clips.clip_list import DataError
from model.evaluation.bench import Bench, BenchError, read_bench, seal_bench, write_bench
from model.presets import preset
from model.release.drawing_settings import AS_TRAINED
from tests.kills import Killed, killed_at
from tests.model.evaluation.benches import small_facts

CACHED = {"validation": 0, "test": 2}
Make = Callable[..., Bench]


def _evaluate(
    evaluation_subject: Subject, bench: Bench, cached: dict[str, int] = CACHED, most: int | None = None
) -> dict[str, pl.DataFrame]:
    frames = evaluate(evaluation_subject, bench, choose_cases(bench, most), cached, 9)
    for table in (MODEL_EVALUATION, EVALUATED_VIDEOS, EVALUATED_FRAMES):
        assert table.violations(frames[table.name]) == []
    return frames


def _measures(frames: dict[str, pl.DataFrame], split: str = "test") -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in frames["model_evaluation"].filter(split=split).iter_rows(named=True)}


def _videos(frames: dict[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    return {row["case_id"]: row for row in frames["evaluated_videos"].iter_rows(named=True)}


def test_a_row_a_frame_a_row_a_video_and_intervals_over_persons(drawer: Any, bench_of: Make, evaluation_subject: Subject) -> None:
    """Of nine frames the first is given; of the other eight every other one is white."""
    bench = bench_of(persons=3, cases_each=2)
    frames = _evaluate(evaluation_subject, bench)
    assert {(one["steps"], one["given"], one["photos"]) for one in drawer.drawn} == {(4, True, 1)}
    assert sorted({one["seed"] for one in drawer.drawn}) == [0, 1]
    faces = frames["evaluated_frames"].filter(case_id="clip-1-0")
    assert faces["frame_index"].to_list() == list(range(1, 9))
    assert faces["similarity"].is_null().to_list() == [False, True] * 4
    assert faces.drop_nulls("similarity").select("yaw_deg", "yaw_bin", "gallery_index", "pose_gap_deg").unique().row(0) == (
        pytest.approx(30.0, abs=1e-3),
        "yaw_20_40",
        1,
        pytest.approx(0.0, abs=0.1),
    )
    own = faces.drop_nulls("similarity").row(0, named=True)
    assert (own["similarity"], own["score"]) == pytest.approx((1.0, 8 / 6))
    video = _videos(frames)["clip-1-0"]
    assert (video["status"], video["frames"], video["faces_found_share"], video["likeness"]) == (Status.OK, 9, 0.5, 0.5)
    assert (evaluation_subject.root / video["video_path"]).is_file()
    [kept] = (evaluation_subject.root / evaluation_subject.folder).glob("clip-1-0.*.json")
    assert json.loads(kept.read_text())["faces"][0]["embedding"] == [], "nobody's biometry is kept"
    measures = _measures(frames)
    assert (measures["flow_loss"]["value"], measures["flow_loss"]["videos"], measures["flow_loss"]["bench_version"]) == (
        2.0,
        2,
        "",
    )
    assert measures["first_frame_psnr_db"]["value"] > 30
    assert measures["likeness_yaw_20_40"]["value"] == pytest.approx(1.0)
    assert [measures["likeness_yaw_20_40"][name] for name in ("videos", "persons", "frames")] == [6, 3, 24]
    found = measures["faces_found_share"]
    assert (found["value"], found["low"], found["high"], found["persons"], found["frames"]) == (0.5, 0.5, 0.5, 3, 48)
    assert (measures["likeness_yaw_60_90"]["value"], measures["likeness_yaw_60_90"]["absent"]) == (
        None,
        "no drawn frame falls into it",
    )
    assert set(_measures(frames, "validation")) == {"flow_loss"}
    assert _measures(frames, "validation")["flow_loss"]["absent"] == "no clip of the split is cached"


def test_a_gate_can_name_the_case_and_the_cause(drawer: Any, bench_of: Make, evaluation_subject: Subject) -> None:
    bench = bench_of(["unusable", "unusable"])
    frames = _evaluate(evaluation_subject, bench)
    row = _measures(frames)["first_frame_psnr_db"]
    assert (row["value"], row["videos"]) == (None, 0)
    cause = "case clip-0-0: no_face: its first frame cannot condition a video: no face found"
    assert row["absent"] == f"2 of 2 videos: {cause}"
    video = _videos(frames)["clip-0-0"]
    assert (video["status"], video["reason"], video["video_path"]) == (Status.REJECTED, Reason.NO_FACE, None)


def test_who_is_given_what(drawer: Any, bench_of: Make, evaluation_subject: Subject) -> None:
    """A base without a first frame, and a model with references, are given the person's photos, too."""
    bench = bench_of(persons=1)
    drawer.manifest.base.layout = "vace"
    frames = _evaluate(evaluation_subject, bench)
    assert [(one["given"], one["photos"]) for one in drawer.drawn] == [(False, 2)]
    assert frames["evaluated_frames"]["frame_index"].to_list() == list(range(9)), "no frame was given"
    row = _measures(frames)["first_frame_psnr_db"]
    assert row["absent"] == "1 of 1 videos: case clip-0-0: the base is given no first frame"
    drawer.manifest.base.layout = "ti2v"
    drawer.manifest.preset = preset("tiny")
    _evaluate(replace(evaluation_subject, checkpoint_sha256="with references"), bench)
    assert [(one["given"], one["photos"]) for one in drawer.drawn[1:]] == [(True, 2)]


def test_nothing_is_drawn_twice_and_only_what_changed_is_done_anew(
    drawer: Any, bench_of: Make, evaluation_subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    """One of three cases lost its video, one its measures; a bench of one case more draws one; another gallery draws none."""
    bench = bench_of(persons=3)
    before = _evaluate(evaluation_subject, bench)
    one, two, _ = case_tasks(bench, evaluation_subject.bench_dir, bench.cases)  # type: ignore[arg-type]
    video_path(evaluation_subject, one).unlink()
    measures_path(evaluation_subject, two).unlink()
    drawer.drawn.clear()
    with caplog.at_level("INFO", logger="lafid.release"):
        after = _evaluate(evaluation_subject, bench)
    assert [drawn["prompt"] for drawn in drawer.drawn] == [one.case.prompt]
    assert "2 of 4 tasks were done before" in caplog.text
    assert all(before[name].equals(after[name]) for name in before)

    drawer.drawn.clear()
    larger = bench_of(folder="larger", persons=4)
    of_larger = replace(evaluation_subject, bench_dir=evaluation_subject.bench_dir.with_name("larger"))  # type: ignore[union-attr]
    _evaluate(of_larger, larger)
    assert [drawn["prompt"] for drawn in drawer.drawn] == ["Person 3 turns the head."]

    drawer.drawn.clear()
    facts, pictures = small_facts(persons=3)
    stricter = {name: one.model_copy(update={"stranger_floor": 0.5}) for name, one in facts.bounds.items()}
    other = seal_bench(facts.model_copy(update={"bounds": stricter}), pictures)
    write_bench(of_larger.root / "stricter", other, pictures)
    found = _evaluate(replace(evaluation_subject, bench_dir=of_larger.root / "stricter"), other)
    assert drawer.drawn == []
    assert found["evaluated_frames"]["score"].max() == pytest.approx(0.5 / 0.3)

    _evaluate(replace(evaluation_subject, drawing=AS_TRAINED.model_copy(update={"precision": "bfloat16"})), bench, most=1)
    _evaluate(replace(evaluation_subject, steps=5), bench, most=1)
    assert len(drawer.drawn) == 2, "another way of drawing has its own videos"


def test_another_seed_is_another_video_and_another_measure(bench_of: Make, evaluation_subject: Subject) -> None:
    bench = bench_of(persons=2)
    cases = [bench.cases[0], bench.cases[0].model_copy(update={"seed": bench.cases[0].seed + 1})]
    one, other = case_tasks(bench, evaluation_subject.bench_dir, cases)  # type: ignore[arg-type]
    assert one.video_name != other.video_name
    assert one.key != other.key


def test_a_kill_while_drawing_leaves_nothing_and_while_measuring_the_video(
    drawer: Any, bench_of: Make, evaluation_subject: Subject
) -> None:
    bench = bench_of(persons=1)
    with killed_at(0, (evaluation_child, "measure_frames")), pytest.raises(Killed):
        _evaluate(evaluation_subject, bench)
    assert [path.suffix for path in sorted((evaluation_subject.root / evaluation_subject.folder).iterdir())] == [".mp4"]
    frames = _evaluate(evaluation_subject, bench)
    assert len(drawer.drawn) == 1
    fresh = _evaluate(replace(evaluation_subject, root=evaluation_subject.root / "fresh"), bench)
    assert all(frames[name].equals(fresh[name]) for name in frames)


def test_a_case_that_fails_costs_itself_and_is_tried_again(drawer: Any, bench_of: Make, evaluation_subject: Subject) -> None:
    bench = bench_of(["fine", "a fault", "fine, too"], persons=3)
    frames = _evaluate(evaluation_subject, bench)
    assert {case: (row["status"], row["reason"]) for case, row in _videos(frames).items()} == {
        "clip-0-0": (Status.OK, None),
        "clip-1-0": (Status.ERROR, Reason.ENGINE_FAILED),
        "clip-2-0": (Status.OK, None),
    }
    assert _measures(frames)["likeness"]["videos"] == 2
    _evaluate(evaluation_subject, bench)
    assert [one["prompt"] for one in drawer.drawn].count("a fault") == 2
    with pytest.raises(EvaluationFailed, match="all 1 tasks failed, the first: a fault"):
        evaluate(evaluation_subject, bench, [bench.cases[1]], {}, 9)
    (evaluation_subject.bench_dir / bench.cases[0].first_frame).unlink()  # type: ignore[operator]
    with pytest.raises(BenchError, match="lacks .*: copy the bench again"):
        _evaluate(evaluation_subject, bench)


def test_what_cannot_be_measured_here_is_not_drawn(
    drawer: Any, bench_of: Make, evaluation_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise BenchError("its face engine is not here")

    bench = bench_of(persons=1)
    monkeypatch.setattr(evaluation_child, "_engine", missing)
    with pytest.raises(EvaluationFailed, match="its face engine is not here"):
        evaluate(evaluation_subject, bench, bench.cases, {}, 9)
    assert drawer.drawn == []


def test_clips_of_other_encoders_are_refused(drawer: Any, evaluation_subject: Subject) -> None:
    drawer.manifest.encoders_fingerprint = "another"
    with pytest.raises(DataError, match="other encoders than the checkpoint .*: run `lafid precompute --preset tiny`"):
        evaluate(evaluation_subject, None, [], CACHED, 9)


def test_without_a_bench_only_losses_are_measured(drawer: Any, evaluation_subject: Subject) -> None:
    frames = evaluate(evaluation_subject, None, [], CACHED, 9)
    assert frames["model_evaluation"].select("split", "value").rows() == [("test", 2.0), ("validation", None)]
    assert frames["evaluated_videos"].is_empty()


def test_names_from_a_strangers_bench_stay_in_the_folder(drawer: Any, bench_of: Make, evaluation_subject: Subject) -> None:
    facts, pictures = small_facts(persons=1)
    evil = facts.cases[0].model_copy(update={"case_id": "../../evil", "clip_id": "../../evil"})
    bench = seal_bench(facts.model_copy(update={"cases": (evil,)}), pictures)
    write_bench(evaluation_subject.bench_dir, bench, pictures)  # type: ignore[arg-type]
    read = read_bench(evaluation_subject.bench_dir)  # type: ignore[arg-type]
    video = evaluate(evaluation_subject, read, read.cases, {}, 9)["evaluated_videos"].row(0, named=True)
    assert video["video_path"].startswith(f"{evaluation_subject.folder}/______evil.")


def test_persons_take_turns_then_poses_and_more_cases_add_to_fewer(bench_of: Make) -> None:
    bench = bench_of(persons=2, cases_each=2)
    chosen = [case.case_id for case in choose_cases(bench, 4)]
    assert chosen == ["clip-0-1", "clip-1-0", "clip-1-1", "clip-0-0"], "30 degrees, then frontal; then again"
    assert [case.case_id for case in choose_cases(bench, 3)] == chosen[:3]
    assert choose_cases(bench, None) == list(bench.cases)


@pytest.mark.parametrize(
    ("height", "width", "duration_s", "size"),
    [
        (48, 64, 9.0, Bucket(17, 48, 64)),
        (64, 48, 9.0, Bucket(17, 64, 64)),
        (48, 64, 1.5, Bucket(9, 48, 64)),
        (48, 64, 0.1, Bucket(9, 48, 64)),
    ],
)
def test_a_case_is_drawn_at_the_models_own_size(bench_of: Make, height: int, width: int, duration_s: float, size: Bucket) -> None:
    of_model = ClipSize(frames=17, height=64, width=64, shorter_frames=(9,), shapes=((48, 64),))
    case = bench_of(persons=1).cases[0].model_copy(update={"height": height, "width": width, "duration_s": duration_s})
    assert size_of(case, of_model) == size


@pytest.mark.parametrize(
    ("gpus", "visible", "asked", "device", "children"),
    [
        (0, None, None, None, [{}]),
        (0, None, 2, None, [{}, {}]),
        (2, None, None, None, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        (2, "3,GPU-a", None, None, [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "GPU-a"}]),
        (2, None, 1, None, [{"CUDA_VISIBLE_DEVICES": "0"}]),
        (2, None, None, "cuda:1", [{}]),
    ],
)
def test_each_child_has_a_gpu_of_its_own(
    evaluation_subject: Subject,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    visible: Any,
    asked: Any,
    device: Any,
    children: list[Any],
) -> None:
    monkeypatch.setattr(evaluation, "cuda_devices", lambda: gpus)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    given = replace(evaluation_subject, drawing=AS_TRAINED.model_copy(update={"device": device}))
    assert evaluation._environments(given, asked) == [child | {"OMP_NUM_THREADS": "5"} for child in children]
