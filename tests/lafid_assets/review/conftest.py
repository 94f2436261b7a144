"""A curated lake of five clips: one kept, one narrowly rejected, one clearly, one for its person, one that failed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.lake import open_lake
from lafid_assets.schemas import (
    BY_NAME,
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROOTS,
    CLIP_ROWS,
    DUPLICATE_CLIPS,
    FACE_CLIPS,
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from resources.lake.lake import UNPARTITIONED, Lake
from resources.settings import Settings
from tests.lafid_assets.review.five_clips import BROKEN, CHANGES, FAR, KEPT, NARROW, POLICY, SETTINGS, SHARD


@pytest.fixture
def footage(curated: Lake, settings: Settings) -> Path:
    """Where the clips' files lie: the kept one's alone is there."""
    return settings.home / "clips"


@pytest.fixture
def curated(settings: Settings, _curated_home: Path) -> Iterator[Lake]:
    shutil.copytree(_curated_home, settings.home)
    lake = open_lake(settings)
    root = str(settings.home / "clips")
    for table in (CLIP_ROOTS, CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS):
        lake.commit(lambda writer, name=table.name: writer.cursor.execute(f"UPDATE {name} SET clip_root = '{root}'"))
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def _curated_home(
    tmp_path_factory: pytest.TempPathFactory,
    lay_clips: Callable[..., None],
    row_of: Callable[..., dict[str, Any]],
    write_video: Callable[..., Path],
) -> Path:
    """Copying it is cheaper than making the tables."""
    home = tmp_path_factory.mktemp("reviewed") / "home"
    footage = home / "clips"
    write_video(footage / "kept.mp4", seconds=1, sound_s=0.5)
    with closing(open_lake(Settings(home=home, store_uri=str(home / "store")))) as lake:
        _curate(lake, lay_clips, row_of, footage)
    return home


def _curate(lake: Lake, lay_clips: Callable[..., None], row_of: Callable[..., dict[str, Any]], footage: Path) -> None:
    upstream = {"status": "skipped", "reason": "upstream", "keep": False}
    low = {"status": "rejected", "reason": "pose_variation_low", "reasons": ["pose_variation_low"], "keep": False}
    rows: dict[str, list[dict[str, Any]]] = {}

    def add(table: Any, clip_id: str, **values: Any) -> None:
        known = {name: value for name, value in ({"shard": SHARD, "clip_id": clip_id} | values).items() if name in table.dtypes}
        rows.setdefault(table.name, []).append(row_of(table, **known))

    for clip, degrees in {KEPT: 60.0, NARROW: 44.0, FAR: 9.0, CHANGES: 50.0}.items():
        file = {"path": f"{clip}.mp4", "clip_root": str(footage), "source": "OpenHumanVid" if clip == FAR else "ours"}
        add(RAW_CLIPS, clip, content_sha256=f"sha-{clip}", duration_s=1.0, caption="<b>bold</b> captions", **file)
        add(FACE_CLIPS, clip, engine="dlib")
        judged = {"pose_variation_deg": degrees, "pose_spread_deg": 40.0, "policy_sha256": POLICY["face"], "reasons": []}
        add(POSE_FILTERED_CLIPS, clip, **(judged | (low if degrees < 45 else {})))
        one = {"embedded_frames": 10, "outlier_share": 0.1, "policy_sha256": POLICY["person"]}
        turned = {"outlier_share": 0.3, "status": "rejected", "reason": "identity_change", "keep": False}
        add(ID_CONSISTENT_CLIPS, clip, **(one | (upstream if degrees < 45 else turned if clip == CHANGES else {})))
        gone = {} if clip == KEPT else upstream
        add(SPEECH_INFO, clip, mouth_model="dlib", voice_spans=[{"start_s": 0.1, "end_s": 0.4}], **gone)
        add(SPEECH_TAGGED_CLIPS, clip, policy_sha256=POLICY["speech"], speaking_status="on_screen", **gone)
        if clip == KEPT:
            add(DUPLICATE_CLIPS, clip)
            add(IDENTITY_CLUSTERS, clip, identity_id="person-a")
        for frame in range(3):
            angles = {"yaw_deg": 10.0 * frame, "pitch_deg": 1.0, "roll_deg": 0.0}
            add(FACE_INFO, clip, frame_index=frame, face_index=0, rotation=[1.0, 0, 0, 0, 1, 0, 0, 0, 1], **angles)
            add(FACE_EMBEDDINGS, clip, frame_index=frame, face_index=0, embedding=[1.0, 0.0])
            add(FACE_FRAMES, clip, frame_index=frame, time_s=0.3 * frame, face_count=1)
    add(RAW_CLIPS, BROKEN, path="broken.mp4", clip_root=str(footage), status="error", reason="unreadable")
    rows[POLICY_SETTINGS.name] = [{"policy_sha256": POLICY[name], "settings": text} for name, text in SETTINGS.items()]
    lay_clips(lake, RAW_CLIPS.frame(rows.pop(RAW_CLIPS.name)), SHARD)
    for partition in (SHARD, UNPARTITIONED):
        frames = {name: BY_NAME[name].frame(of) for name, of in rows.items() if BY_NAME[name].partitioned == (partition == SHARD)}
        lake.put(frames, partition, "f")


@pytest.fixture
def decide_anew(curated: Lake) -> Callable[[str, str], None]:
    """Changes the face constraints' row of a clip by SQL, as another policy would."""

    def change(clip_id: str, to: str) -> None:
        table = POSE_FILTERED_CLIPS.name
        curated.commit(lambda writer: writer.cursor.execute(f"UPDATE {table} SET {to} WHERE clip_id = '{clip_id}'"))

    return change
