"""Whom an evaluation asks what: the checkpoint and its rival, the bench's cases, the cached splits; all of it, or a share.

Belongs here: what `model_evaluation` and the runs of `draw_evaluation` have in common. Not here: measuring (`evaluation`), who
the rival is (`champion`).
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import polars as pl

from lafid_assets.outcomes import Status
from lafid_assets.release.bench_folder import current_bench, folder_of
from lafid_assets.release.champion import Rival
from lafid_assets.release.evaluation import HELD_OUT, choose_cases, is_kept
from lafid_assets.release.evaluation_tasks import FOLDER, Subject
from lafid_assets.release.model_files import ModelMissing, find_model
from lafid_assets.training.base import adopted_in, fetch_base
from lafid_assets.training.cached_clips import read_cached, write_list
from lafid_assets.training.held_out import drawing_of
from model.evaluation.bench import Bench, Case, read_bench
from model.presets import preset
from model.release.drawing_settings import DrawingSettings
from resources.lake.lake import Lake
from resources.store.file_store import FileStore
from resources.tracking import Tracking

if TYPE_CHECKING:
    from lafid_assets.release.model_evaluation import ModelEvaluationConfig

DOWNLOADS = f"{FOLDER}/downloads"
"""In the store: a champion whose registry is a server."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """What is asked of every model.

    Attributes:
        subject: the checkpoint.
        bench: None: there is none, and only losses are measured.
        cached: split to how many of its clips are cached.
    """

    config: "ModelEvaluationConfig"
    subject: Subject
    bench: Bench | None
    cases: Sequence[Case]
    cached: Mapping[str, int]

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any], config: "ModelEvaluationConfig", lake: Lake) -> Self:
        """
        Args:
            checkpoint: row of `fusion_dit`.

        Raises:
            BaseError, DataError: its base, or what is cached of the clips, is not there; the message says how it gets there.
        """
        store = lake.store
        with lake.snapshot() as reader:
            latents, current = read_cached(reader, preset(checkpoint["preset"])), current_bench(reader)
        bench_dir = None if current is None else store.fetch(folder_of(current))
        bench = None if bench_dir is None else read_bench(bench_dir)
        cached = latents.filter(pl.col("status") == Status.OK)["split"].to_list()
        subject = Subject(
            checkpoint["checkpoint_sha256"],
            checkpoint_dir=store.fetch(checkpoint["checkpoint_path"]),
            base_dir=fetch_base(checkpoint["base_path"], store),
            root=store.here(""),
            bench_dir=bench_dir,
            clip_list=write_list(latents, store, HELD_OUT),
            drawing=drawing_of(config.drawing, latents),
            steps=config.steps,
        )
        return cls(
            config,
            subject,
            bench,
            [] if bench is None else choose_cases(bench, config.cases),
            {split: cached.count(split) for split in HELD_OUT if split in latents["split"]},
        )

    def share(self, number: int, of: int) -> Self:
        """Case and split `number`, counted from 0, and every `of`-th after it."""
        splits = [*self.cached][number::of]
        return replace(self, cases=self.cases[number::of], cached={split: self.cached[split] for split in splits})

    def done(self, work: Callable[..., Result], subject: Subject, store: FileStore) -> Result:
        """What `evaluate` or `draw` makes of it, going on with what the store holds, whichever machine has made that."""
        store.fetch(subject.folder)
        how = (self.config.deadline_s, self.config.processes)
        return work(subject, self.bench, self.cases, self.cached, *how, keep=lambda: store.put(subject.folder))

    def rival(self, rival: Rival, lake: Lake, tracking: Tracking) -> Subject:
        """The other model, asked the same. Its files are asked for only where something of it is missing.

        Raises:
            ModelMissing: they are not to be had, or are another checkpoint's.
        """
        drawing = DrawingSettings.of(self.config.drawing)
        its = replace(self.subject, checkpoint_sha256=rival.checkpoint_sha256, drawing=drawing)
        lake.store.fetch(its.folder)
        if self.bench is None or is_kept(its, self.bench, self.cases, self.cached):
            return its
        return _found(its, rival, lake, tracking)


def _found(its: Subject, rival: Rival, lake: Lake, tracking: Tracking) -> Subject:
    """The rival as a subject with its files on this machine.

    Raises:
        ModelMissing: they are not to be had, or are another checkpoint's.
    """
    store = lake.store
    downloads = store.here(DOWNLOADS)
    found = find_model(rival.version.uri, tracking, downloads, adopted=adopted_in(store))
    for other in downloads.iterdir() if downloads.is_dir() else ():
        if not found.checkpoint_dir.is_relative_to(other):  # one at a time: they are large, and can be fetched again
            shutil.rmtree(other, ignore_errors=True)
    if found.checkpoint_sha256 != rival.checkpoint_sha256:
        raise ModelMissing(f"{rival.version.uri} holds another checkpoint than its tag says")
    return replace(its, checkpoint_dir=found.checkpoint_dir, base_dir=found.base_dir)
