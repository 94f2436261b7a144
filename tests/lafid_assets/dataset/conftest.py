"""A small finished curation: all tables that the dataset reads, for the clips that a test names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.dataset.lafid_dataset import Dataset, put_together
from lafid_assets.dataset.versions import keep_version
from lafid_assets.schemas import (
    BY_NAME,
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROOTS,
    CLIP_ROWS,
    CLIPS,
    DATASET_VERSIONS,
    DUPLICATE_CLIPS,
    FACE_CLIPS,
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    LAFID_DATASET,
    PIECES,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    RECORDINGS,
    REFERENCE_CROPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
    TABLES,
)
from model.face_engine.rotations import rotation_from_angles
from resources.lake.lake import Lake
from resources.lake.reader import Reader

Tables = dict[str, pl.DataFrame]
REJECTED = {"keep": False, "status": "rejected", "reason": "no_face"}
RESEARCH = "non-commercial-research"
SKIPPED = {"status": "skipped", "reason": "upstream"}
SHARD = "shard-00000"
CURATED = (CLIP_ROOTS, CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS, CLIPS, FACE_CLIPS, FACE_INFO, FACE_EMBEDDINGS)
CURATED += (
    FACE_FRAMES,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    SPEECH_INFO,
    REFERENCE_CROPS,
    SPEECH_TAGGED_CLIPS,
    DUPLICATE_CLIPS,
)


@pytest.fixture(scope="session")
def curated(row_of: Callable[..., dict[str, Any]]) -> Callable[..., Tables]:
    """Clips as {clip id: person}; a person of None is a clip that was rejected for want of a face."""

    def make(persons: dict[str, str | None], clip_root: str = "/footage", shard: str = SHARD) -> Tables:
        rows: dict[str, list[dict[str, Any]]] = {}

        def add(table: Any, **values: Any) -> None:
            rows.setdefault(table.name, []).append(row_of(table, **values))

        add(CLIP_ROOTS, clip_root=clip_root)
        add(POLICY_SETTINGS, policy_sha256="cofe-sha", settings=FacePolicy().model_dump_json())
        for clip, person in persons.items():
            known: dict[str, Any] = {"clip_id": clip, "shard": shard}
            kept = person is not None
            file = {"shard": shard, "clip_root": clip_root, "path": clip}
            add(CLIP_FILES, **file)
            add(CLIP_ROWS, **file, licence="CC")
            add(CLIP_CONTENTS, **file, content_sha256=f"sha-{clip}", clip_id=clip, clip_shard=shard)
            add(CLIPS, **known, content_sha256=f"sha-{clip}", duration_s=2.0)
            add(FACE_CLIPS, **known, engine="dlib", engine_licence=RESEARCH, fingerprint="f")
            judged = {"policy": "cofe", "policy_sha256": "cofe-sha", "pose_variation_deg": 60.0, "reasons": []}
            add(POSE_FILTERED_CLIPS, **known, **judged, **({} if kept else REJECTED))
            add(ID_CONSISTENT_CLIPS, **known, centroid=[1.0, 0.0], **({} if kept else {"keep": False} | SKIPPED))
            add(SPEECH_INFO, **known, engine="dlib", engine_licence=RESEARCH, **({} if kept else SKIPPED))
            spoken = {"speaking_status": "silent", "refined_caption": f"caption of {clip}"} if kept else SKIPPED
            add(SPEECH_TAGGED_CLIPS, **known, **spoken)
            for frame, yaw_deg in enumerate((-20.0, 0.0, 20.0)):
                pose = {"yaw_deg": yaw_deg, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": 50.0}
                rotation = rotation_from_angles(yaw_deg, 0.0, 0.0).ravel().tolist()
                add(FACE_INFO, **known, frame_index=frame, face_index=0, rotation=rotation, **pose)
                add(FACE_EMBEDDINGS, **known, frame_index=frame, face_index=0, embedding=[1.0, 0.0])
                add(FACE_FRAMES, **known, frame_index=frame, time_s=frame / 2, width=640, height=360)
            if kept:
                for index, (frame, yaw_deg) in enumerate(((1, 0.0), (0, -20.0), (2, 20.0))):
                    pose = {"yaw_deg": yaw_deg, "pitch_deg": 0.0, "roll_deg": 0.0, "face_index": 0}
                    add(REFERENCE_CROPS, **known, reference_index=index, frame_index=frame, **pose)
                add(DUPLICATE_CLIPS, **known)
                add(IDENTITY_CLUSTERS, clip_id=clip, identity_id=person, split_key=person)
        return {table.name: table.frame(rows.get(table.name, [])) for table in CURATED}

    return make


@pytest.fixture(scope="session")
def as_pieces(row_of: Callable[..., dict[str, Any]]) -> Callable[[Tables, str, Sequence[str]], Tables]:
    """Tables of `curated` in which some clips, of a second each, are the shots of one recording in a file of its own."""

    def made(tables: Tables, recording: str, shots: Sequence[str]) -> Tables:
        of_file, known = {"path": recording}, {"clip_id": recording, "content_sha256": f"sha-{recording}"}
        tables = dict(tables)
        for table in (CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS, CLIPS, FACE_CLIPS):
            rows = tables[table.name].to_dicts()
            key = "clip_id" if "clip_id" in table.dtypes else "path"
            mine = next(row for row in rows if row[key] == shots[0])
            whole = mine | {name: value for name, value in (known | of_file).items() if name in table.dtypes}
            if table is FACE_CLIPS:
                rows.append(whole | {"status": "skipped", "reason": "split"})
            else:
                rows = [row for row in rows if row[key] not in shots] + [whole]
            tables[table.name] = table.frame(rows)
        pieces = [
            row_of(
                PIECES,
                clip_id=clip,
                shard=SHARD,
                recording_id=recording,
                shots_in_file=len(shots),
                piece_index=number,
                content_sha256=f"sha-{recording}",
                first_pts=10 * number,
                last_pts=10 * number + 9,
                start_s=float(number),
                duration_s=1.0,
            )
            for number, clip in enumerate(shots)
        ]
        counted = {"pieces": len(shots), "shard": SHARD, **known}
        return tables | {PIECES.name: PIECES.frame(pieces), RECORDINGS.name: RECORDINGS.frame([row_of(RECORDINGS, **counted)])}

    return made


class _PlainReader(Reader):
    """Of a DuckDB without lake."""

    def snapshot(self) -> int:
        return 1


@pytest.fixture
def reader_of() -> Iterator[Callable[[Mapping[str, pl.DataFrame]], Reader]]:
    """Asks tables without a lake, which takes longer to write; tables that are not given have no rows."""
    connections = []

    def make(tables: Mapping[str, pl.DataFrame]) -> Reader:
        connections.append(connection := duckdb.connect())
        for table in TABLES:
            if table.view is not None:
                connection.execute(f"CREATE VIEW {table.name} AS {table.view}")
                continue
            connection.register("incoming", tables.get(table.name, table.frame([])))
            connection.execute(f"CREATE TABLE {table.name} AS SELECT * FROM incoming")
            connection.unregister("incoming")
        return _PlainReader(BY_NAME, connection, "memory")

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture(scope="session")
def lay_into() -> Callable[[Lake, Tables], None]:
    """Puts tables into a lake in place of what was there, each shard by itself."""
    return _lay


@pytest.fixture(scope="session")
def keep_in() -> Callable[[Lake, Tables, Path], Dataset]:
    """Makes the dataset of these tables in a lake and keeps its version, as `lafid_dataset` does; the folder takes files."""
    return _keep


@pytest.fixture
def lay(lake: Lake) -> Callable[[Tables], None]:
    """Puts tables into the lake in place of what was there, each shard by itself."""
    return partial(_lay, lake)


@pytest.fixture
def keep(lake: Lake, tmp_path: Path) -> Callable[[Tables], Dataset]:
    """Makes the dataset of these tables and keeps its version, as `lafid_dataset` does."""
    return lambda tables: _keep(lake, tables, tmp_path)


def _lay(lake: Lake, tables: Tables) -> None:
    whole = {name: frame for name, frame in tables.items() if not BY_NAME[name].partitioned}
    parts = {name: frame for name, frame in tables.items() if name not in whole}
    lake.put(whole, "all", "f")
    for shard in {SHARD}.union(*(frame["shard"] for frame in parts.values())):
        lake.put({name: frame.filter(shard=shard) for name, frame in parts.items()}, shard, "f")


def _keep(lake: Lake, tables: Tables, folder: Path) -> Dataset:
    _lay(lake, tables)
    with lake.snapshot() as reader:
        made = put_together(reader, folder)
    lake.put(
        {LAFID_DATASET.name: made.rows, DATASET_VERSIONS.name: DATASET_VERSIONS.frame([])},
        fingerprint="f",
        revise=lambda reader, frames: {**frames, DATASET_VERSIONS.name: keep_version(reader, made.rows, made.version)},
    )
    return made
