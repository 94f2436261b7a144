"""Measures of a checkpoint on persons that it never saw.

Belongs here: checkpoint and held-out clips -> measures. Not here: what a measure is (`model.likeness`, `model.training.metrics`),
what is enough (`gates`).
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl

from lafid_assets.outcomes import Status
from lafid_assets.progress import track
from lafid_assets.schemas import MODEL_EVALUATION
from lafid_assets.training.held_out import first_frame
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.likeness import MeasuredVideo, likeness_of

LOGGER = logging.getLogger("lafid.release")
HELD_OUT = ("validation", "test")


def evaluate(
    checkpoint: dict[str, Any], dataset: pl.DataFrame, latents: pl.DataFrame, clip_list: Path, store_root: Path
) -> pl.DataFrame:
    """Flow loss on the cached clips, and what a generated video keeps of its first frame and of the person.

    A base that cannot be given a first frame is given the clip's as a photo; its `first_frame_psnr_db` is NULL. Likeness is over
    the frames of all clips of a split together.

    Args:
        checkpoint: a row of `fusion_dit`.
        dataset: rows of `lafid_dataset`.
        latents: rows of `training_latents`.
        clip_list: of the same clips.
        store_root: where the checkpoint's paths begin.

    Returns:
        rows of `model_evaluation`; a measure that no clip allowed is NULL.
    """
    from model.clips.clip_set import ClipSet
    from model.release.pipeline import load
    from model.training.metrics import fixed_flow_loss

    paths = [store_root / checkpoint[name] for name in ("checkpoint_path", "base_path")]
    semantic_dir = next((Path(folder) for folder in latents["semantic_encoder"] if folder), None)
    pipeline = load(*paths, semantic_dir=semantic_dir)
    rows = []
    for split in HELD_OUT:
        clips = dataset.filter(pl.col("split") == split).sort("clip_id")
        if clips.is_empty():
            continue
        measures: dict[str, float | None] = {"flow_loss": None}
        cached = latents.filter((pl.col("split") == split) & (pl.col("status") == Status.OK))
        if cached.height:
            held_out = ClipSet(clip_list, split)
            measures["flow_loss"] = fixed_flow_loss(pipeline.model, held_out, pipeline.manifest.preset)
        videos, fidelities = [], []
        for clip in track(clips.iter_rows(named=True), f"model_evaluation {split}", clips.height):
            generated = _measure_generated(pipeline, clip)
            if generated is not None:
                videos.append(generated.video)
                fidelities.append(generated.first_frame_psnr_db)
        known = [psnr_db for psnr_db in fidelities if psnr_db is not None]
        measures |= {"first_frame_psnr_db": sum(known) / len(known) if known else None} | likeness_of(videos).figures()
        rows += [
            {
                "checkpoint_sha256": checkpoint["checkpoint_sha256"],
                "split": split,
                "metric": metric,
                "value": value,
                "clips": clips.height,
            }
            for metric, value in measures.items()
        ]
    return MODEL_EVALUATION.frame(rows)


class _Generated(NamedTuple):
    video: MeasuredVideo
    first_frame_psnr_db: float | None


def _measure_generated(pipeline: Any, clip: dict[str, Any]) -> _Generated | None:
    """None where the first frame shows no face: a kept clip may begin without one."""
    import numpy as np

    from model.encoding.face_processor import FaceError
    from model.encoding.video_io import fit_frames, read_frames, write_mp4
    from model.training.held_out_videos import draw_held_out, measure_held_out
    from model.training.metrics import psnr

    first = first_frame(clip, pipeline.manifest.preset.clip)
    try:
        frames = draw_held_out(pipeline, first, clip["refined_caption"] or "")
    except FaceError as error:
        LOGGER.warning("nothing could be generated from the first frame of %s: %s", clip["clip_id"], error)
        return None
    video = measure_held_out(pipeline, frames, first, np.asarray(clip["identity_embedding"], np.float32))
    if pipeline.manifest.base.layout not in FIRST_FRAME_LAYOUTS:
        return _Generated(video, None)
    with TemporaryDirectory() as folder:
        written = Path(folder) / "generated.mp4"
        write_mp4(written, frames, pipeline.fps)
        shown = read_frames(written, [0.0])[0]
    return _Generated(video, psnr(shown, fit_frames(first[None], *frames.shape[1:3])[0]))
