"""The labelled test clips (../shared/testdata/SOURCES.md) through the insightface engine: one person comes together, two do not.

Four frames a clip at half the detector's side. `make test` looks at a third of them, `make soak` at all: about 15 CPU seconds.
The labels judge; no figure was fitted to them.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest

from lafid_assets.identity.clustering import NOTHING, cluster_clips
from lafid_assets.identity.consistency import decide_clips
from lafid_assets.identity.policies import ClusterPolicy, ConsistencyPolicy
from lafid_assets.schemas import FACE_FRAMES, FACES, POSE_FILTERED_CLIPS
from model.face_engine.interface import Image
from model.model_store.store import ModelStore

FRAMES = 4
LAST_FRAME = 170
"""Decoding the long 1080p clips to their end would cost more than looking at them."""
Groups = tuple[tuple[str, ...], ...]
ONE_PERSON: Groups = (
    ("pyfeat_face_noface", "pyfeat_noface_face", "pyfeat_single_face"),
    ("derived_closed_mouth_offscreen_speech", "liveportrait_src_s18"),
    ("derived_face_then_noface_then_face", "intel_gaze_demo"),
    ("derived_cut_two_persons_speech first half", "derived_talking_face_silent_audio"),
    ("intel_head-pose-face-detection-female-and-male right", "intel_head-pose-face-detection-male"),
    ("intel_head-pose-face-detection-female-and-male left", "intel_head-pose-face-detection-female"),
)
OTHER_SINGLES = (
    *(f"liveportrait_d{number}" for number in (0, 10, 11, 12, 13, 14, 18, 19, 20, 3, 6, 9)),
    *(f"liveportrait_src_s{number}" for number in (13, 20, 29, 32)),
    *(f"latentsync_demo{number}" for number in (1, 2, 3)),
    "pyfeat_WolfgangLanger_Pexels",
)
"""All of different persons. Left out: further clips that are derived from these."""


@pytest.fixture(scope="module")
def groups(soak: bool) -> Groups:
    return ONE_PERSON if soak else ONE_PERSON[:2]


@pytest.fixture(scope="module")
def singles(soak: bool) -> tuple[str, ...]:
    return OTHER_SINGLES if soak else OTHER_SINGLES[::3]


def _frames(path: Path, end: float) -> Iterator[tuple[int, Image]]:
    """Evenly spaced frames from the beginning to `end`, a share of the clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = stream.frames or sum(1 for _ in container.decode(stream))
    last = min(end * count - 1, LAST_FRAME)
    wanted = np.linspace(0, last, FRAMES).astype(int).tolist()
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                yield number, frame.to_ndarray(format="rgb24")
            if number == wanted[-1]:
                return


@pytest.fixture(scope="module")
def persons(
    testdata: Path, real_store: ModelStore, row_of: Callable[..., dict[str, Any]], groups: Groups, singles: tuple[str, ...]
) -> pl.DataFrame:
    """`identity_clusters` of the clips, by the road that a shard takes."""
    from model.face_engine.insightface_engine import InsightfaceEngine, InsightfaceSettings
    from model.face_engine.selection import choose_parts

    parts = choose_parts(
        real_store, detector="scrfd_2.5g", embedder="arcface_mobilefacenet_foamliu", head_pose="fsanet", mouth="none"
    )
    engine = InsightfaceEngine(parts, InsightfaceSettings(detection_side_px=320))
    made_by = {"engine": engine.info.name, "engine_version": engine.info.version}
    clips = sorted({name for group in groups for name in group} | set(singles))
    faces, frames = [], []
    for clip in clips:
        stem, _, part = clip.partition(" ")
        path = next(path for path in (testdata / "clips").iterdir() if path.stem == stem)
        for number, image in _frames(path, 0.5 if part == "first half" else 1):
            known = {"clip_id": clip, "frame_index": number} | made_by
            frames.append(row_of(FACE_FRAMES, **known, luminance=float(image.mean())))
            middle = image.shape[1] / 2
            found = [
                face
                for face in engine.detect(image)
                if part not in ("left", "right") or (part == "left") == (face.box_xyxy_px[0] < middle)
            ]
            for index, face in enumerate(found[:1]):
                box = dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), face.box_xyxy_px, strict=True))
                measured = {"embedding": face.embedding.tolist(), "score": face.score, "frame_share": 0.1, "sharpness": 100.0}
                rotation = None if face.rotation is None else face.rotation.ravel().tolist()
                faces.append(row_of(FACES, **known, **box, **measured, face_index=index, rotation=rotation))
    constrained = POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id=clip) for clip in clips])
    policy = ConsistencyPolicy(min_embedded_frames=1)
    decided = decide_clips(constrained, FACES.frame(faces), FACE_FRAMES.frame(frames), policy)["id_consistent_clips"]
    assert decided["keep"].all(), decided.filter(~pl.col("keep"))["clip_id"].to_list()
    kept = decided.select("clip_id", "centroid").with_columns(pl.lit(value).alias(name) for name, value in made_by.items())
    return cluster_clips(kept, ClusterPolicy(), NOTHING)["identity_clusters"]


@pytest.mark.soak
def test_clips_of_one_person_come_together(persons: pl.DataFrame, groups: Groups) -> None:
    name = dict(persons.select("clip_id", "identity_id").iter_rows())
    for group in groups:
        assert len({name[clip] for clip in group}) == 1, group


@pytest.mark.soak
def test_clips_of_different_persons_do_not(persons: pl.DataFrame, groups: Groups, singles: tuple[str, ...]) -> None:
    name = dict(persons.select("clip_id", "identity_id").iter_rows())
    different = [group[-1] for group in groups] + list(singles)
    assert [pair for pair in combinations(different, 2) if name[pair[0]] == name[pair[1]]] == []
    assert persons["identity_id"].n_unique() == len(different)
