"""The face decision over stored scores, against a pandas script that does the same: generated rows, 16 faces a clip.

    python -m benchmarks.decide [--clips 180000] [--rounds 3] [--json]

Both sides read the same Parquet files and end with `keep` and `reason` for every clip, all measures included; the decisions must
be the same. The files hold every scalar column of `face_info` that the decision can want, and neither landmarks nor embeddings:
a column that is not read costs nothing in Parquet.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from rich.console import Console
from rich.table import Table

from lafid_assets.constraints.decision import CLIP_MEASURES, CUT_MEASURES, decide_clips
from lafid_assets.constraints.measures import FACE_COLUMNS, FRAME_COLUMNS
from lafid_assets.constraints.policies import FacePolicy
from model.face_engine.rotations import geodesic_deg, rotation_from_angles

FACES_PER_CLIP = 16
WIDTH_PX, HEIGHT_PX = 1280, 720
POLICY = FacePolicy()


def generate(folder: Path, clips: int) -> None:
    """The four tables with as many rows as the clips need; one seed, so always the same."""
    rng = np.random.default_rng(0)
    clip = np.repeat(np.arange(clips), FACES_PER_CLIP)
    names = pl.Series("clip_id", [f"{index:08x}" * 4 for index in range(clips)])
    frame = np.tile(np.arange(FACES_PER_CLIP, dtype=np.int32) * 12, clips)
    swing_deg = np.abs(rng.normal(0, 20, clips))[clip] * np.sin(frame / 40) + rng.normal(0, 15, clips)[clip]
    height_px = rng.uniform(60, 500, clips)[clip]
    # Every tenth frame of every tenth clip shows a second face, half as high as the first.
    second = (clip % 10 == 0) & (frame % 120 == 0)
    main = pl.DataFrame(
        {
            "clip_id": names.gather(clip),
            "frame_index": frame,
            "face_index": np.zeros(len(clip), np.int16),
            "head_height_px": height_px.astype(np.float32),
            "frame_share": (0.75 * height_px**2 / (WIDTH_PX * HEIGHT_PX)).astype(np.float32),
            "sharpness": rng.gamma(3, 30, len(clip)).astype(np.float32),
            "yaw_deg": np.clip(swing_deg + rng.normal(0, 2, len(clip)), -90, 90).astype(np.float32),
            "pitch_deg": rng.normal(0, 6, len(clip)).astype(np.float32),
            "roll_deg": rng.normal(0, 4, len(clip)).astype(np.float32),
        }
    )
    beside = main.filter(second).with_columns(
        face_index=pl.lit(1, pl.Int16), frame_share=pl.col("frame_share") / 4, head_height_px=pl.col("head_height_px") / 2
    )
    faces = pl.concat([main, beside]).sort("clip_id", "frame_index", "face_index")
    faces.write_parquet(folder / "face_info.parquet")
    main.select(
        "clip_id",
        "frame_index",
        time_s=pl.col("frame_index") / 24,
        face_count=1 + pl.Series(second).cast(pl.Int16),
        width=pl.lit(WIDTH_PX, pl.Int32),
        height=pl.lit(HEIGHT_PX, pl.Int32),
    ).write_parquet(folder / "face_frames.parquet")
    outcome = {"shard": pl.lit("shard-00000"), "status": pl.lit("ok"), "reason": pl.lit(None, pl.String)}
    uncut = dict.fromkeys(CUT_MEASURES, pl.lit(0.0))
    names.to_frame().with_columns(**outcome, **uncut).write_parquet(folder / "face_clips.parquet")
    names.to_frame().with_columns(**{name: pl.lit(None, pl.Float64) for name in CLIP_MEASURES}).write_parquet(
        folder / "picture_measures.parquet"
    )


def decide_ours(folder: Path) -> dict[str, str | None]:
    """The project's own decision."""
    decided = decide_clips(
        pl.read_parquet(folder / "picture_measures.parquet"),
        pl.read_parquet(folder / "face_clips.parquet"),
        pl.read_parquet(folder / "face_info.parquet", columns=list(FACE_COLUMNS)),
        pl.read_parquet(folder / "face_frames.parquet", columns=list(FRAME_COLUMNS)),
        POLICY,
    )
    return dict(decided.select("clip_id", "reason").iter_rows())


def decide_pandas(folder: Path) -> dict[str, str | None]:
    """What a careful user would write with pandas: merges, grouped quantiles, one function a clip for the spread."""
    faces = pd.read_parquet(folder / "face_info.parquet")
    frames = pd.read_parquet(folder / "face_frames.parquet")
    largest = faces.groupby(["clip_id", "frame_index"], sort=False)["frame_share"].transform("max")
    faces["prominent"] = faces["frame_share"] >= POLICY.prominent_area_ratio * largest
    prominent = faces.groupby(["clip_id", "frame_index"], sort=False)["prominent"].sum().reset_index()
    merged = frames.merge(prominent, on=["clip_id", "frame_index"], how="left")
    clips = merged.groupby("clip_id").agg(
        face_frame_share=("face_count", lambda counts: (counts > 0).mean()),
        faced_frames=("face_count", lambda counts: (counts > 0).sum()),
        several_faces_share=("prominent", lambda counts: (counts > 1).mean()),
    )
    sizes = frames[["clip_id", "frame_index", "width", "height"]]
    main = faces[faces["face_index"] == 0].merge(sizes, on=["clip_id", "frame_index"])
    main["height_share"] = main["head_height_px"] / main[["width", "height"]].min(axis=1)
    grouped = main.groupby("clip_id")
    clips["face_height_share"] = grouped["height_share"].median()
    clips["sharpness"] = grouped["sharpness"].median()
    clips["posed_frames"] = grouped["yaw_deg"].count()
    share = POLICY.range_percentile / 100
    angles = grouped[["yaw_deg", "pitch_deg", "roll_deg"]]
    clips["pose_variation_deg"] = (angles.quantile(1 - share) - angles.quantile(share)).sum(axis=1, skipna=False)
    clips["pose_spread_deg"] = grouped[["yaw_deg", "pitch_deg", "roll_deg"]].apply(_spread_deg)
    unmoved = (clips["pose_variation_deg"] < POLICY.pose_variation_min_deg) | (
        clips["pose_spread_deg"] < POLICY.pose_spread_min_deg
    )
    unposed = clips["posed_frames"] / clips["faced_frames"] < POLICY.posed_share_min
    rules = (
        ("no_face", clips["face_frame_share"] == 0),
        ("face_too_rare", clips["face_frame_share"] < POLICY.face_frame_share_min),
        ("face_too_small", clips["face_height_share"] < POLICY.face_height_share_min),
        ("several_faces", clips["several_faces_share"] > POLICY.several_faces_share_max),
        ("face_blurred", clips["sharpness"] < POLICY.sharpness_min),
        ("pose_unknown", (clips["posed_frames"] < POLICY.posed_frames_min) | (unmoved & unposed)),
        ("pose_variation_low", unmoved),
    )
    reason = pd.Series(None, index=clips.index, dtype=object)
    for name, broken in rules:
        reason = reason.where(reason.notna() | ~broken, name)
    return {clip: value if isinstance(value, str) else None for clip, value in reason.items()}


def _spread_deg(poses: pd.DataFrame) -> float:
    rotations = rotation_from_angles(*poses.to_numpy().T)
    return float(np.max(geodesic_deg(rotations[:, None], rotations[None])))


def _seconds(decide: Callable[[Path], dict[str, str | None]], folder: Path) -> tuple[float, dict[str, str | None]]:
    started = time.perf_counter()
    decided = decide(folder)
    return time.perf_counter() - started, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=180_000)
    parser.add_argument("--rounds", type=int, default=3, help="of ours; pandas runs once")
    parser.add_argument("--json", action="store_true", help="print one object last")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, arguments.clips)
        ours = [_seconds(decide_ours, folder) for _ in range(arguments.rounds)]
        pandas_s, by_pandas = _seconds(decide_pandas, folder)
    ours_s, by_ours = min(ours, key=lambda run: run[0])
    differing = sum(by_ours[clip] != reason for clip, reason in by_pandas.items())
    table = Table("who decides", "seconds", "kept", title=f"{arguments.clips:,} clips of {FACES_PER_CLIP} faces")
    for who, seconds, decided in (("ours", ours_s, by_ours), ("pandas script", pandas_s, by_pandas)):
        table.add_row(who, f"{seconds:.2f}", f"{sum(reason is None for reason in decided.values()):,}")
    Console().print(table, f"pandas / ours: {pandas_s / ours_s:.1f}; decided otherwise: {differing}")
    if arguments.json:
        print(
            json.dumps({"seconds": ours_s, "ratio_pandas": pandas_s / ours_s, "differing": differing, "clips": arguments.clips})
        )


if __name__ == "__main__":
    main()
