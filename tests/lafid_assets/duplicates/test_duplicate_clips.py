"""The asset on a lake: over all shards, among clips that every step before has passed."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from lafid_assets.duplicates.duplicate_clips import duplicate_clips
from lafid_assets.schemas import CLIPS, FACE_CLIPS, FACE_EMBEDDINGS, FACE_FRAMES, FACE_INFO, SPEECH_TAGGED_CLIPS
from resources.lake.lake import Lake
from resources.settings import Settings

ENGINE = {"engine": "dlib", "engine_version": "1", "engine_licence": "none", "engine_reason": "asked for"}


def test_copies_are_found_across_shards_and_only_of_clips_that_came_so_far(
    lake: Lake, surveyed: Mapping[str, Any], row_of: Callable[..., dict[str, Any]]
) -> None:
    def lay(shard: str, film: str, **tagged: str) -> None:
        seen, known = surveyed[film], {"clip_id": film, "shard": shard}
        embeddings = [{name: face[name] for name in FACE_EMBEDDINGS.dtypes} | known for face in seen.faces]
        faces = [{name: value for name, value in face.items() if name != "embedding"} | known | ENGINE for face in seen.faces]
        tables = {
            CLIPS: [row_of(CLIPS, **known, width=256, height=90 if film.startswith("b") else 144, duration_s=4.0)],
            FACE_CLIPS: [row_of(FACE_CLIPS, **known, **ENGINE, fingerprint="f", content_sha256=film)],
            FACE_FRAMES: [frame | known | ENGINE for frame in seen.frames],
            FACE_INFO: faces,
            FACE_EMBEDDINGS: embeddings,
            SPEECH_TAGGED_CLIPS: [row_of(SPEECH_TAGGED_CLIPS, **known, **tagged)],
        }
        lake.put({table.name: table.frame(rows) for table, rows in tables.items()}, shard, "f")

    def run() -> dict[str, str | None]:
        result = dg.materialize(
            [duplicate_clips], resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake}
        )
        assert all(check.passed for check in result.get_asset_check_evaluations())
        return dict(lake.read("duplicate_clips", columns=["clip_id", "duplicate_of"]).iter_rows())

    lay("shard-00000", "b smaller")
    lay("shard-00001", "f another take")
    assert run() == {"b smaller": None, "f another take": None}
    lay("shard-00002", "a original")
    lay("shard-00003", "c cropped", status="skipped", reason="upstream")
    assert run() == {"a original": None, "b smaller": "a original", "f another take": None}
