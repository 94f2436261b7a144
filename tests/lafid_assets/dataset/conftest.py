"""A small finished curation: all tables that the dataset reads, for the clips that a test names."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.schemas import (
    FACE_CLIPS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    REFERENCE_CROPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)

REJECTED = {"keep": False, "status": "rejected", "reason": "no_face"}
RESEARCH = "non-commercial-research"
SKIPPED = {"status": "skipped", "reason": "upstream"}


@pytest.fixture(scope="session")
def curated(row_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, pl.DataFrame]]:
    """Clips as {clip id: person}; a person of None is a clip that was rejected for want of a face."""

    def make(persons: dict[str, str | None], clip_root: str = "/footage") -> dict[str, pl.DataFrame]:
        rows: dict[str, list[dict[str, Any]]] = {}

        def add(table: Any, **values: Any) -> None:
            rows.setdefault(table.name, []).append(row_of(table, **values))

        for clip, person in persons.items():
            known: dict[str, Any] = {"clip_id": clip, "shard": "shard-00000"}
            kept = person is not None
            add(RAW_CLIPS, **known, path=clip, clip_root=clip_root, content_sha256=f"sha-{clip}", duration_s=2.0, licence="CC")
            add(FACE_CLIPS, **known, engine="dlib", engine_licence=RESEARCH, fingerprint="f")
            judged = {"pose_variation_deg": 60.0, "policy_settings": FacePolicy().model_dump_json(), "reasons": []}
            add(POSE_FILTERED_CLIPS, **known, **judged, **({} if kept else REJECTED))
            add(ID_CONSISTENT_CLIPS, **known, centroid=[1.0, 0.0], **({} if kept else {"keep": False} | SKIPPED))
            add(SPEECH_INFO, **known, engine="dlib", engine_licence=RESEARCH, **({} if kept else SKIPPED))
            spoken = {"speaking_status": "silent", "refined_caption": f"caption of {clip}"} if kept else SKIPPED
            add(SPEECH_TAGGED_CLIPS, **known, **spoken)
            for frame, yaw_deg in enumerate((-20.0, 0.0, 20.0)):
                pose = {"yaw_deg": yaw_deg, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": 50.0}
                add(FACE_INFO, **known, frame_index=frame, face_index=0, **pose)
                add(FACE_FRAMES, **known, frame_index=frame, time_s=frame / 2, width=640, height=360)
            if kept:
                for index, (frame, yaw_deg) in enumerate(((1, 0.0), (0, -20.0), (2, 20.0))):
                    pose = {"yaw_deg": yaw_deg, "pitch_deg": 0.0, "roll_deg": 0.0, "face_index": 0}
                    add(REFERENCE_CROPS, **known, reference_index=index, frame_index=frame, **pose)
            if kept:
                add(IDENTITY_CLUSTERS, clip_id=clip, identity_id=person, split_key=person)
        tables = (RAW_CLIPS, FACE_CLIPS, FACE_INFO, FACE_FRAMES, POSE_FILTERED_CLIPS, ID_CONSISTENT_CLIPS, IDENTITY_CLUSTERS)
        tables += (SPEECH_INFO, REFERENCE_CROPS)
        return {table.name: table.frame(rows.get(table.name, [])) for table in (*tables, SPEECH_TAGGED_CLIPS)}

    return make
