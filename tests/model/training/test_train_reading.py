"""What a run reads: clips of several sizes, one batch ahead, short ones first; and how it ends when a clip cannot be read."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import model.training.report
import model.training.train
from model.clip_size import Bucket
from model.clips.clip_set import Batch, ClipSet, DataError
from model.presets import Preset, Stage
from model.release.checkpoint import read_manifest
from model.training.objective import StepLosses
from model.training.train import TrainingStopped, TrainReport, train
from tests.model.cached_clips import ClipLatents, write_clips
from tests.model.training.conftest import Killed

Quick = Callable[..., Preset]


def test_clips_of_several_sizes_train_together_and_those_of_a_rare_size_are_named(
    run: Callable,
    quick: Quick,
    cached: list[ClipLatents],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def sized(clip: ClipLatents, bucket: Bucket) -> ClipLatents:
        meta = clip.meta.model_copy(update={"bucket": bucket})
        latents = clip.latents[:, : bucket.frames, :, : bucket.width // 4]
        return replace(clip, meta=meta, latents=latents, face_boxes=clip.face_boxes[: bucket.frames])

    sizes = (Bucket(3, 16, 16), Bucket(2, 16, 16), Bucket(2, 16, 16), Bucket(3, 16, 16), Bucket(3, 16, 8))
    clips = write_clips(tmp_path, [sized(clip, bucket) for clip, bucket in zip(cached, sizes, strict=True)])
    config = quick(steps=4, batch_size=2)
    heard: list[tuple[list[str], int]] = []
    note = model.training.report.Meter.note

    def listen(meter: model.training.report.Meter, losses: StepLosses, data_wait_s: float) -> None:
        heard.append((sorted(losses.clip_ids), losses.last.latents.shape[2]))
        note(meter, losses, data_wait_s)

    monkeypatch.setattr(model.training.report.Meter, "note", listen)
    with caplog.at_level("WARNING", logger="lafid.training"):
        result = run(config, tmp_path / "run", clips)
    assert sorted(heard) == [(["clip-0", "clip-3"], 3)] * 2 + [(["clip-1", "clip-2"], 2)] * 2
    assert result.clips_left_out == ("clip-4",)
    assert "1 of 5 clips are left out, since of their sizes there are fewer than the 2 clips of a batch: clip-4" in caplog.text
    assert run(config, tmp_path / "run", clips).clips_left_out == ("clip-4",)


def test_reading_ahead_changes_no_bit(run: Callable, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = quick(steps=2, batch_size=3, forward_clips=2)
    ahead = read_manifest(run(config, tmp_path / "ahead").checkpoint_dir)
    monkeypatch.setattr(model.training.train, "one_ahead", lambda items, _reader: ((item, 0.0) for item in items))
    assert read_manifest(run(config, tmp_path / "plain").checkpoint_dir) == ahead


def test_a_clip_that_cannot_be_read_any_more_is_named_and_no_thread_stays(
    run: Callable, quick: Quick, clip_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned before is saved, and the same call goes on when the file is back."""
    moved = shutil.copytree(clip_list.parent, tmp_path / "latents") / clip_list.name
    batch = ClipSet.batch

    def gone(clips: ClipSet, *arguments: object, **more: object) -> Batch:
        if threading.current_thread() is not main and any((tmp_path / "run").glob("*/state/step-*")):
            raise DataError("clip clip-2: shard abc is no readable shard")
        return batch(clips, *arguments, **more)

    main, before = threading.current_thread(), threading.active_count()
    config = quick(steps=6, checkpoint_every=1, batch_size=1, ema_decay=None)
    with monkeypatch.context() as patch:
        patch.setattr(ClipSet, "batch", gone)
        with pytest.raises(DataError, match="clip clip-2: shard abc"):
            run(config, tmp_path / "run", moved)
    assert threading.active_count() == before
    assert run(config, tmp_path / "run", moved).resumed_from > 0


@pytest.mark.parametrize("ending", ["report", "stop"])
def test_whatever_ends_a_run_ends_its_reader(quick: Quick, clip_list: Path, base_dir: Path, tmp_path: Path, ending: str) -> None:
    def report(_progress: TrainReport) -> None:
        if ending == "report":
            raise Killed

    before = threading.active_count()
    with pytest.raises((Killed, TrainingStopped)):
        train(quick(), clip_list, base_dir, tmp_path, report, dataset_version="v1", device="cpu", stop=lambda: True)
    assert threading.active_count() == before


def test_a_run_on_short_clips_first_resumes_to_the_same_bits(run: Callable, quick: Quick, tmp_path: Path) -> None:
    config = quick(
        steps=3, checkpoint_every=1, curriculum=(Stage(until_step=2, frames=2),), face_loss_weight=3.0, speech_dropout=0.5
    )
    whole = read_manifest(run(config, tmp_path / "whole").checkpoint_dir)
    for step in (2, 3):  # goes on among the short clips, and where they end
        with pytest.raises(Killed):
            run(config, tmp_path / "cut", until=step)
    resumed = run(config, tmp_path / "cut")
    assert resumed.resumed_from == 2
    assert read_manifest(resumed.checkpoint_dir) == whole
    plain = read_manifest(run(quick(steps=3, checkpoint_every=1), tmp_path / "plain").checkpoint_dir)
    assert plain.parts != whole.parts
