"""Checkpoints on the way: judged on held-out clips, kept by rule, the same whatever kills the run."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import model.training.judge
import model.training.kept_checkpoints
import model.training.train
from model.bases.base import Base, load_base
from model.clips.clip_parts import ClipLatents, write_clips
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import EmbeddingSource, Manifest, load_checkpoint, read_manifest, verify_checkpoint
from model.training.kept_checkpoints import CHECKPOINTS, best_of, checkpoints_in, keep_checkpoint, sweep_torn
from model.training.metrics import fixed_flow_loss
from model.training.state import TrainStateError
from model.training.train import TrainingStopped, TrainReport, TrainResult, never, train

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
        manifest = Manifest(
            preset=quick(),
            base=base.info,
            face_engine=EmbeddingSource(name="stub", version="1", width=16),
            encoders_fingerprint="e",
            parts={},
            dataset_version="v1",
            seed=0,
            step=step,
            loss_before=2.0,
            loss_after=1.0,
            validation_loss=loss,
        )
        keep_checkpoint(tmp_path, model, manifest, newest)
        return tmp_path

    return go


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
    remove = model.training.kept_checkpoints.shutil.rmtree

    def killed(folder: Path, **options: object) -> None:
        if folder.name.startswith(".step-0000001"):
            raise Killed
        remove(folder, **options)

    folder = keep(1, 3.0)
    with monkeypatch.context() as patch:
        patch.setattr(model.training.kept_checkpoints.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            keep(2, 2.0, newest=1)
    assert steps(folder) == [2]
    assert list(folder.glob(".step-*"))
    sweep_torn(folder)
    assert [path.name for path in folder.iterdir()] == ["step-0000002"]


Go = Callable[..., TrainResult]


@pytest.fixture
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
    config = quick(steps=5, validate_every=2, keep_checkpoints=5, trainable="adapter_and_lora")
    result = go(config, tmp_path)
    on_the_way = checkpoints_in(result.checkpoint_dir.parent / CHECKPOINTS)
    assert steps(on_the_way[0].parent) == [2, 4]
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
    result = go(quick(steps=3, validate_every=2), tmp_path, clip_list)
    manifest = read_manifest(result.checkpoint_dir)
    assert (manifest.validated_on, manifest.validation_loss) == ("train", manifest.loss_after)


def test_unless_asked_nothing_is_judged(go: Go, quick: Quick, tmp_path: Path) -> None:
    result = go(quick(steps=2), tmp_path, validate=lambda *_: pytest.fail("it was judged"))
    manifest = read_manifest(result.checkpoint_dir)
    assert (manifest.validated_on, manifest.validation_loss, result.best_checkpoint_dir) == (None, None, None)
    assert not (result.checkpoint_dir.parent / CHECKPOINTS).exists()


def test_judging_changes_nothing_of_what_is_trained(go: Go, quick: Quick, tmp_path: Path) -> None:
    with_it = go(quick(steps=5, validate_every=1), tmp_path)
    without = go(quick(steps=5), tmp_path)
    assert read_manifest(with_it.checkpoint_dir).parts == read_manifest(without.checkpoint_dir).parts


KILLS = ("report", "stop", "judge", "write", "validate")


def go_until_killed(go: Go, config: Preset, folder: Path, how: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a run that meets its end at the `at`-th chance of one kind; it may finish before."""
    asked = iter(range(1, 1000))
    heard = iter(range(1, 1000))
    calls = iter(range(1, 1000))

    def killing(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            done = function(*arguments)
            if next(calls) == at:
                raise Killed
            return done

        return call

    def validate(*_: object) -> None:
        if how == "validate" and next(heard) == at:
            raise Killed

    with monkeypatch.context() as patch, suppress(Killed, TrainingStopped):
        if how == "judge":
            patch.setattr(model.training.judge.Judge, "manifest", killing(model.training.judge.Judge.manifest))
        if how == "write":
            patch.setattr(
                model.training.kept_checkpoints, "write_checkpoint", killing(model.training.kept_checkpoints.write_checkpoint)
            )
        stop = (lambda: next(asked) == at) if how == "stop" else never
        go(config, folder, until=at if how == "report" else None, stop=stop, validate=validate)


@pytest.mark.soak
def test_whatever_kills_it_the_same_checkpoints_are_kept_and_the_same_is_best(
    go: Go, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    config = quick(steps=7, checkpoint_every=3, validate_every=2, keep_checkpoints=1, trainable="adapter_and_lora")
    judged = model.training.judge.fixed_flow_loss
    # Held-out clips that get worse: the first checkpoint is the best, and the rule has something to decide.
    monkeypatch.setattr(
        model.training.judge,
        "fixed_flow_loss",
        lambda m, clips, *a: judged(m, clips, *a) if len(clips) == 3 else 9 - judged(m, clips, *a),
    )

    def kept(result: TrainResult) -> dict[str, Manifest]:
        run_dir = result.checkpoint_dir.parent
        found = [*checkpoints_in(run_dir / CHECKPOINTS), result.checkpoint_dir]
        return {path.name: verify_checkpoint(path) for path in found} | {"best": read_manifest(result.best_checkpoint_dir)}

    whole = kept(go(config, tmp_path / "whole"))
    assert sorted(whole) == ["best", "checkpoint", "step-0000002", "step-0000006"]
    assert whole["best"].step == 2
    runs = iter(range(1000))

    @settings(max_examples=60 if soak else 3, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from(KILLS), st.integers(1, 6)), min_size=1, max_size=3))
    def check(ends: list[tuple[str, int]]) -> None:
        folder = tmp_path / str(next(runs))
        for how, at in ends:
            go_until_killed(go, config, folder, how, at, monkeypatch)
        assert kept(go(config, folder)) == whole

    check()


def test_a_torn_checkpoint_is_written_anew_where_the_run_passes_again(
    go: Go, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(steps=5, checkpoint_every=100, validate_every=2, keep_checkpoints=9)
    whole = go(config, tmp_path / "whole").checkpoint_dir.parent
    go_until_killed(go, config, tmp_path / "cut", "write", 2, monkeypatch)
    torn = next((tmp_path / "cut").glob("*/checkpoints/step-0000004"))
    (torn / "lafid.json").unlink()
    again = go(config, tmp_path / "cut").checkpoint_dir.parent
    for name in ("step-0000002", "step-0000004"):
        assert verify_checkpoint(again / CHECKPOINTS / name) == verify_checkpoint(whole / CHECKPOINTS / name)


def test_a_full_disk_leaves_the_states_and_the_checkpoints_before(
    go: Go, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(steps=6, checkpoint_every=3, validate_every=2, keep_checkpoints=9)
    write = model.training.kept_checkpoints.write_checkpoint

    def full(folder: Path, *arguments: object) -> object:
        if folder.name == "step-0000004":
            raise OSError(28, "No space left on device")
        return write(folder, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(model.training.kept_checkpoints, "write_checkpoint", full)
        message = r"the checkpoint of step 4 in .*checkpoints could not be written .*No space left.* goes on from step 4"
        with pytest.raises(TrainStateError, match=message):
            go(config, tmp_path)
    assert [path.name for path in tmp_path.glob("*/checkpoints/*")] == ["step-0000002"]
    result = go(config, tmp_path)
    assert result.resumed_from == 4
    assert read_manifest(result.checkpoint_dir) == read_manifest(go(config, tmp_path / "whole").checkpoint_dir)
