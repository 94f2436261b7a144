"""Clips through children into files: a clip that cannot be decoded costs itself, and never the run."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training import encoding as module
from lafid_assets.training.base import base_folder
from lafid_assets.training.clip_pictures import Pictures, PictureTask, take_pictures
from lafid_assets.training.latents import intact
from lafid_assets.workers.exit_reasons import Fault
from lafid_assets.workers.pool import Done, TimedOut
from model.clip_size import ClipSize
from model.presets import Preset, preset
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import encode_clips

SMALL = ClipSize(frames=9, height=16, width=16)


def crashing(task: PictureTask) -> Pictures | Fault:
    """As `take_pictures`, with a decoder that brings its process down at the first clip."""
    if task.file["clip_id"] == "a":
        os.kill(os.getpid(), signal.SIGSEGV)
    return take_pictures(task)


@pytest.fixture
def encode(store: FileStore, faces: pl.DataFrame) -> Callable[[pl.DataFrame], pl.DataFrame]:
    chosen: Preset = preset("tiny").model_copy(update={"clip": SMALL})
    return lambda dataset: encode_clips(dataset, faces, chosen, base_folder("tiny", store), store)


@pytest.mark.parametrize("reason", [Reason.DEADLINE, Reason.DECODE_FAILED])
def test_a_lost_clip_is_tried_again_where_that_may_help(
    encode: Callable[[pl.DataFrame], pl.DataFrame],
    dataset: pl.DataFrame,
    store: FileStore,
    monkeypatch: pytest.MonkeyPatch,
    reason: Reason,
) -> None:
    """What a decoder says of a file stays as it is."""
    lost = TimedOut(60.0) if reason == Reason.DEADLINE else Done(Fault(Status.ERROR, reason, "broken"))

    def lose_a(work: Callable[[Any], Any], tasks: Sequence[PictureTask], *_: Any, **__: Any) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            yield index, lost if task.file["clip_id"] == "a" else Done(work(task))

    monkeypatch.setattr(module, "map_footage", lose_a)
    rows = encode(dataset)
    assert TRAINING_LATENTS.violations(rows) == []
    assert rows["reason"].to_list() == [reason, None, "too_short"]
    assert rows["parts"].list.len().to_list()[::2] == [0, 0]
    assert intact(rows, store) == (reason == Reason.DECODE_FAILED)


def test_a_decoder_has_time_by_what_it_has_to_read(
    encode: Callable[[pl.DataFrame], pl.DataFrame], dataset: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a piece that can only be reached from the file's beginning also what lies before it."""
    told: dict[str, list[float]] = {}

    def noting(work: Callable[[Any], Any], tasks: Sequence[PictureTask], deadline_s: Any, *_: Any, **__: Any) -> Iterator[Any]:
        for index, task in enumerate(tasks):
            piece = {"first_pts": 1, "last_pts": 2, "keyframe_pts": None, "start_s": 100.0}
            told[task.file["clip_id"]] = [deadline_s(task), deadline_s(replace(task, file=task.file | piece))]
            yield index, Done(work(task))

    monkeypatch.setattr(module, "map_footage", noting)
    encode(dataset)
    least_s = module.LIMITS.deadline_s(1.2)
    assert told == dict.fromkeys("ab", pytest.approx([least_s, least_s + 100 * module.LIMITS.search_s_per_s]))


def test_a_decoder_that_crashes_costs_its_clip(
    encode: Callable[[pl.DataFrame], pl.DataFrame], dataset: pl.DataFrame, in_children: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "take_pictures", crashing)
    rows = encode(dataset)
    assert rows["reason"].to_list() == ["crashed", None, "too_short"]
    assert "died with exit code -11" in rows["detail"][0]


def test_what_a_lost_clip_shares_with_others_is_made_all_the_same(
    encode: Callable[[pl.DataFrame], pl.DataFrame], dataset: pl.DataFrame
) -> None:
    """The first clip's file is gone; the second shows the same from another place, under the same keys."""
    first, second, *_ = dataset.to_dicts()
    file = {name: first[name] for name in ("content_sha256", "path")}
    pair = [first | {"path": "gone"}, second | file]
    rows = encode(pl.DataFrame(pair, schema=dataset.schema))
    assert rows["reason"].to_list() == ["unreadable", None]
    assert rows["parts"].list.len().to_list() == [0, 8]
