"""Checkpoints on the way: judged by likeness and loss, kept by rule, the same whatever kills the run."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import model.training.checkpoint_retention
import model.training.train
import model.training.validation_loss
from model.bases.base import Base, load_base
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel
from model.likeness import Likeness
from model.presets import Preset
from model.release.checkpoint import Manifest, load_checkpoint, read_manifest, verify_checkpoint
from model.training.checkpoint_retention import CHECKPOINTS, best_of, checkpoints_in, keep_checkpoint, kept_in, sweep_torn
from model.training.metrics import fixed_flow_loss
from model.training.state import TrainStateError
from model.training.train import TrainingStopped, TrainReport, TrainResult, train
from model.training.validation import LAST, DrawingStopped
from tests.model.cached_clips import ClipLatents, write_clips
from tests.model.manifests import a_manifest

Quick = Callable[..., Preset]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def split_list(cached: list[ClipLatents], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips to train on, two that judge."""
    folder = tmp_path_factory.mktemp("split")
    return write_clips(folder, cached, split=lambda clip: "validation" if clip.meta.clip_id > "clip-2" else "train")


@pytest.fixture
def keep(fused: Callable[..., FusedModel], base: Base, quick: Quick, tmp_path: Path) -> Callable[..., Path]:
    """Keeps the checkpoint of a step with this validation loss, two of them beside the best; gives the folder."""
    model = fused()

    def go(step: int, loss: float | None, newest: int = 2) -> Path:
        keep_checkpoint(tmp_path, model, manifest_of(base, quick, step, loss), newest)
        return tmp_path

    return go


def manifest_of(base: Base, quick: Quick, step: int, loss: float | None) -> Manifest:
    return a_manifest(quick(), base.info, step=step, validation_loss=loss, judged_by=None if loss is None else "loss")


def drew(mean: float | None, subjects: str = "s") -> Likeness:
    """Two frames, each with a face or none."""
    return Likeness(
        frames=2, frames_without_face=2 if mean is None else 0, mean=mean, by_yaw={}, by_expression={}, subjects=subjects
    )


Judged = tuple[float, Likeness | None]


@pytest.mark.parametrize(
    ("judged", "best"),
    [
        ([(1.0, drew(0.2)), (9.0, drew(0.4)), (0.1, drew(0.3))], 2),  # likeness, whatever the loss says
        ([(1.0, drew(None)), (2.0, drew(-0.9))], 2),  # one that draws no face never wins
        ([(3.0, drew(None)), (2.0, drew(None)), (2.0, drew(None))], 2),  # of equals the loss, then the earlier
        ([(2.0, drew(0.4)), (1.0, drew(0.4))], 2),
        ([(1.0, None), (9.0, drew(-0.1)), (0.5, None)], 2),  # never a loss against a likeness
        ([(1.0, drew(0.9, "others")), (1.0, drew(0.1)), (1.0, drew(0.2)), (1.0, None)], 3),  # nor other persons' likenesses
        ([(2.0, None), (1.0, None), (3.0, None)], 2),
    ],
)
def test_the_best_is_found_by_likeness_and_by_loss_only_where_there_is_none(
    base: Base, quick: Quick, tmp_path: Path, judged: list[Judged], best: int
) -> None:
    folders = []
    for step, (loss, likeness) in enumerate(judged, 1):
        folders.append(tmp_path / str(step))
        folders[-1].mkdir()
        manifest = manifest_of(base, quick, step, loss).after_drawing(likeness)
        assert manifest.judged_by == ("likeness" if likeness else "loss")
        (folders[-1] / "lafid.json").write_text(manifest.model_dump_json())
    assert best_of(folders) == best_of(folders[::-1]) == tmp_path / str(best)


def steps(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints_in(folder)]


def test_the_newest_and_the_best_are_kept(keep: Callable[..., Path]) -> None:
    seen = []
    for step, loss in enumerate([5.0, 3.0, 4.0, 6.0, 3.0, 2.0, 7.0], 1):
        folder = keep(step, loss)
        seen.append(steps(folder))
    assert seen == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6], [6, 7]]
    assert best_of(checkpoints_in(folder)) == folder / "step-0000006"
    assert verify_checkpoint(folder / "step-0000006").parts


def test_of_equals_the_earliest_is_best_and_none_where_nothing_is_judged(keep: Callable[..., Path]) -> None:
    for step in (1, 2):
        folder = keep(step, 3.0)
    assert best_of(checkpoints_in(folder)).name == "step-0000001"
    keep(9, None, newest=1)
    assert best_of([folder / "step-0000009"]) is None
    assert best_of([]) is None


def test_what_a_killed_run_wrote_stays_as_it_is(keep: Callable[..., Path]) -> None:
    folder = keep(1, 3.0)
    before = (folder / "step-0000001" / "lafid.json").stat().st_mtime_ns
    keep(1, 3.0)
    assert (folder / "step-0000001" / "lafid.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["lafid.json", "adapter/diffusion_pytorch_model.safetensors"])
def test_a_torn_one_is_removed_by_name(keep: Callable[..., Path], name: str, caplog: pytest.LogCaptureFixture) -> None:
    for step, loss in ((1, 2.0), (2, 1.0)):
        folder = keep(step, loss)
    (folder / "step-0000002" / name).write_bytes(b"{")
    with caplog.at_level(logging.WARNING, logger="lafid.training"):
        sweep_torn(folder)
    assert steps(folder) == [1]
    [record] = caplog.records
    assert "step-0000002" in record.getMessage()
    assert "it is removed, the checkpoints beside it stay" in record.getMessage()


def test_a_kill_while_one_is_removed_leaves_no_half(keep: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    remove = model.training.checkpoint_retention.shutil.rmtree

    def killed(folder: Path, **options: object) -> None:
        if folder.name.startswith(".step-0000001"):
            raise Killed
        remove(folder, **options)

    folder = keep(1, 3.0)
    with monkeypatch.context() as patch:
        patch.setattr(model.training.checkpoint_retention.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            keep(2, 2.0, newest=1)
    assert steps(folder) == [2]
    assert list(folder.glob(".step-*"))
    sweep_torn(folder)
    assert [path.name for path in folder.iterdir()] == ["step-0000002"]


Go = Callable[..., TrainResult]


@pytest.fixture(scope="module")
def go(split_list: Path, base_dir: Path) -> Go:
    def run(config: Preset, out_dir: Path, clips: Path | None = None, until: int | None = None, **more: object) -> TrainResult:
        def report(progress: TrainReport) -> None:
            if progress.step == until:
                raise Killed

        return train(config, clips or split_list, base_dir, out_dir, report, dataset_version="v1", device="cpu", **more)

    return run


def test_held_out_clips_judge_a_checkpoint_that_loads(
    go: Go, quick: Quick, split_list: Path, base_dir: Path, tmp_path: Path
) -> None:
    config = quick(steps=3, validate_every=2, keep_checkpoints=5, trainable="adapter_and_lora", ema_decay=None)
    result = go(config, tmp_path)
    on_the_way = checkpoints_in(result.checkpoint_dir.parent / CHECKPOINTS)
    assert steps(on_the_way[0].parent) == [2]
    held_out = ClipSet(split_list, "validation")
    for folder in (*on_the_way, result.checkpoint_dir):
        manifest = read_manifest(folder)
        assert manifest.validated_on == "validation"
        loaded = load_checkpoint(folder, load_base(base_dir, "cpu"))
        again = fixed_flow_loss(loaded, held_out, config)
        assert manifest.validation_loss == again != manifest.loss_after
    losses = {folder: read_manifest(folder).validation_loss for folder in (*on_the_way, result.checkpoint_dir)}
    assert result.best_checkpoint_dir == min(losses, key=losses.__getitem__)


def test_where_nobody_is_held_out_the_clips_of_training_judge_and_it_says_so(
    go: Go, quick: Quick, clip_list: Path, tmp_path: Path
) -> None:
    result = go(quick(steps=1, validate_every=2), tmp_path, clip_list)
    manifest = read_manifest(result.checkpoint_dir)
    assert (manifest.validated_on, manifest.validation_loss) == ("train", manifest.loss_after)


def test_unless_asked_nothing_is_judged(go: Go, quick: Quick, tmp_path: Path) -> None:
    result = go(quick(steps=1), tmp_path, onlooker=Looking("draw", 1))
    manifest = read_manifest(result.checkpoint_dir)
    assert (manifest.validated_on, manifest.validation_loss, manifest.judged_by) == (None, None, None)
    assert result.best_checkpoint_dir is result.best_ema_checkpoint_dir is None
    assert not kept_in(result.checkpoint_dir.parent)


def test_judging_changes_nothing_of_what_is_trained_or_averaged(go: Go, quick: Quick, tmp_path: Path) -> None:
    with_it = go(quick(steps=3, validate_every=2), tmp_path)
    without = go(quick(steps=3), tmp_path)
    assert read_manifest(with_it.checkpoint_dir).parts == read_manifest(without.checkpoint_dir).parts
    assert read_manifest(with_it.ema_checkpoint_dir).parts == read_manifest(without.ema_checkpoint_dir).parts


KILLS = ("report", "stop", "judge", "write", "draw", "sigterm", "tell")


class Looking:
    """An onlooker: what is as trained resembles its persons most after step 4, the average after step 2. It meets an end at the
    `at`-th drawing or telling."""

    draws = True

    def __init__(self, how: str = "", at: int = 0) -> None:
        self.how, self.at, self.seen, self.stopped = how, at, {"draw": 0, "sigterm": 0, "tell": 0}, False

    def draw(self, model: FusedModel, manifest: Manifest, run_dir: Path) -> Likeness:
        self._end("draw")
        self._end("sigterm")
        return drew(-abs(manifest.step - (2 if manifest.averaged else 4)) / 10)

    def tell(self, manifest: Manifest, run_dir: Path) -> None:
        assert manifest.judged_by == "likeness"
        self._end("tell")

    def _end(self, moment: str) -> None:
        self.seen[moment] += 1
        if self.how == moment and self.seen[moment] == self.at:
            self.stopped = moment == "sigterm"
            raise DrawingStopped if self.stopped else Killed


def go_until_killed(go: Go, config: Preset, folder: Path, how: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a run that meets its end at the `at`-th chance of one kind; it may finish before."""
    asked = iter(range(1, 1000))
    calls = iter(range(1, 1000))

    def killing(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            done = function(*arguments, **named)
            if next(calls) == at:
                raise Killed
            return done

        return call

    looking = Looking(how, at)
    with monkeypatch.context() as patch, suppress(Killed, TrainingStopped):
        if how == "judge":
            patch.setattr(
                model.training.validation_loss.Judge, "manifest", killing(model.training.validation_loss.Judge.manifest)
            )
        if how == "write":
            patch.setattr(
                model.training.checkpoint_retention,
                "write_checkpoint",
                killing(model.training.checkpoint_retention.write_checkpoint),
            )

        def stop() -> bool:
            return looking.stopped or (how == "stop" and next(asked) == at)

        go(config, folder, until=at if how == "report" else None, stop=stop, onlooker=looking)


SHORT = (("report", 1), ("judge", 1), ("write", 1), ("draw", 2), ("tell", 3), ("sigterm", 2), ("stop", 2))
"""Ends of one run after the other, each at which chance of its kind."""


@pytest.mark.soak
def test_whatever_kills_it_the_same_checkpoints_are_kept_and_the_same_is_best(
    go: Go, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    few = {"steps": 7, "fixed_triples": 1, "batch_size": 1}
    config = quick(checkpoint_every=3, validate_every=2, keep_checkpoints=1, trainable="adapter_and_lora", **few)

    def kept(result: TrainResult) -> dict[str, Manifest]:
        run_dir = result.checkpoint_dir.parent
        found = [*kept_in(run_dir), result.checkpoint_dir, result.ema_checkpoint_dir]
        best = {"best": result.best_checkpoint_dir, "best_ema": result.best_ema_checkpoint_dir}
        return {path.relative_to(run_dir).as_posix(): verify_checkpoint(path) for path in found} | {
            name: read_manifest(path) for name, path in best.items()
        }

    whole = kept(go(config, tmp_path / "whole", onlooker=Looking()))
    on_the_way = [
        "checkpoints/step-0000004",
        "checkpoints/step-0000006",
        "checkpoints_ema/step-0000002",
        "checkpoints_ema/step-0000006",
    ]
    assert sorted(whole) == sorted(["best", "best_ema", "checkpoint", "checkpoint_ema", *on_the_way])
    assert (whole["best"].step, whole["best_ema"].step) == (4, 2)
    for how, at in SHORT:
        go_until_killed(go, config, tmp_path / "short", how, at, monkeypatch)
    assert kept(go(config, tmp_path / "short", onlooker=Looking())) == whole
    if not soak:
        return
    runs = iter(range(1000))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from(KILLS), st.integers(1, 6)), min_size=1, max_size=3))
    def check(ends: list[tuple[str, int]]) -> None:
        folder = tmp_path / str(next(runs))
        for how, at in ends:
            go_until_killed(go, config, folder, how, at, monkeypatch)
        assert kept(go(config, folder, onlooker=Looking())) == whole

    check()


@pytest.fixture(scope="module")
def judged(quick: Quick) -> Preset:
    """After steps 2 and 4 and at the end, all of which is kept."""
    return quick(steps=5, checkpoint_every=100, validate_every=2, keep_checkpoints=9, ema_decay=None)


@pytest.fixture(scope="module")
def whole(go: Go, judged: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run, which nothing ended."""
    return go(judged, tmp_path_factory.mktemp("whole"), onlooker=Looking()).checkpoint_dir.parent


def test_a_torn_checkpoint_is_written_anew_where_the_run_passes_again(
    go: Go, judged: Preset, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_until_killed(go, judged, tmp_path / "cut", "write", 2, monkeypatch)
    torn = next((tmp_path / "cut").glob("*/checkpoints/step-0000004"))
    (torn / "lafid.json").unlink()
    again = go(judged, tmp_path / "cut", onlooker=Looking()).checkpoint_dir.parent
    for name in ("step-0000002", "step-0000004"):
        assert verify_checkpoint(again / CHECKPOINTS / name) == verify_checkpoint(whole / CHECKPOINTS / name)


def test_a_full_disk_leaves_the_states_and_the_checkpoints_before(
    go: Go, judged: Preset, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = model.training.checkpoint_retention.write_checkpoint

    def full(folder: Path, *arguments: object) -> object:
        if folder.name == "step-0000004":
            raise OSError(28, "No space left on device")
        return write(folder, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(model.training.checkpoint_retention, "write_checkpoint", full)
        message = r"the checkpoint of step 4 in .*checkpoints could not be written .*No space left.* goes on from step 4"
        with pytest.raises(TrainStateError, match=message):
            go(judged, tmp_path, onlooker=Looking())
    assert [path.name for path in tmp_path.glob("*/checkpoints/*")] == ["step-0000002"]
    result = go(judged, tmp_path, onlooker=Looking())
    assert result.resumed_from == 4
    assert read_manifest(result.checkpoint_dir) == read_manifest(whole / LAST)
