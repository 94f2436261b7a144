"""`lafid.duckdb` in the home: the decision and dataset tables as a plain DuckDB file, for any client, without the lake.

Belongs here: which tables and columns are in it, and writing it. Not here: the lake, which every command of LaFID asks instead.

The file is always written whole, beside the old one, and put in its place: whoever has the old one open keeps it.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path

import duckdb

from lafid_assets import schemas
from model.files import whole_file
from resources.lake.duckdb_extensions import duckdb_cursor, quoted
from resources.lake.lake import Lake
from resources.lake.reader import Reader

PUBLISHED: Mapping[str, tuple[str, ...]] = {
    schemas.RAW_CLIPS.name: (),
    schemas.RECORDINGS.name: (),
    schemas.POSE_FILTERED_CLIPS.name: (),
    schemas.ID_CONSISTENT_CLIPS.name: ("centroid",),
    schemas.IDENTITY_CLUSTERS.name: (),
    schemas.IDENTITY_HISTORY.name: (),
    schemas.DUPLICATE_CLIPS.name: (),
    schemas.DUPLICATE_PAIRS.name: (),
    schemas.SPEECH_INFO.name: (
        "voice_spans",
        "segments",
        "mouth_times_s",
        "mouth_openings",
        "mouth_yaw_deg",
        "mouth_runs",
        "searched_times_s",
        "face_counts",
        "sound_energy",
        "lip_audio_correlations",
        "lip_audio_chance",
    ),
    schemas.SPEECH_TAGGED_CLIPS.name: (),
    schemas.POLICY_SETTINGS.name: (),
    schemas.REFERENCE_CROPS.name: (),
    schemas.LAFID_DATASET.name: ("identity_embedding",),
    schemas.DATASET_VERSIONS.name: (),
    schemas.DATASET_REPORT.name: (),
    schemas.TRAINING_LATENTS.name: (),
    schemas.FUSION_DIT.name: (),
    schemas.MODEL_EVALUATION.name: (),
    schemas.REGISTERED_MODEL.name: (),
}
"""Table to the columns that stay behind: embeddings, and measures moment by moment."""
_numbers = itertools.count()


class NotPublished(OSError):
    """The file could not be written, and the last one is still there; the message says what to do."""


def publish(lake: Lake, path: Path) -> None:
    """Write the file anew from the tables as they are at this moment; a table that was never written is not in it.

    Raises:
        NotPublished: the disk is full, or the folder cannot be written.
    """
    log = path.with_name(f"{path.name}.wal")
    try:
        with lake.leases.held(f"published {path}"):
            for left in path.parent.glob(f".{path.stem}.*{path.suffix}*"):  # by a publication that was killed
                left.unlink()
            with whole_file(path) as temporary:
                try:
                    _write(lake, temporary)
                finally:
                    temporary.with_name(f"{temporary.name}.wal").unlink(missing_ok=True)
                # Of a client that had the replaced file open; DuckDB would apply it to the new one.
                log.unlink(missing_ok=True)
            log.unlink(missing_ok=True)
    except (OSError, duckdb.Error) as error:
        said = " ".join(str(error).split())
        raise NotPublished(f"cannot write {path} ({said}): free some space, then run `lafid curate` again") from error


def _write(lake: Lake, path: Path) -> None:
    name = f"published_{next(_numbers)}"
    cursor = duckdb_cursor(())
    cursor.execute(f"ATTACH {quoted(str(path))} AS {name}")
    try:
        lake.commit(lambda reader: _copy(reader, name), all_cores=True)
        cursor.execute(f"CHECKPOINT {name}")
    finally:
        cursor.execute(f"DETACH {name}")


def _copy(reader: Reader, database: str) -> None:
    """Writes in one transaction, which reads one moment of the lake and writes the file alone."""
    written = {table for table, _ in reader.stamps([*PUBLISHED, schemas.CLIPS.name])}
    for name, left_out in PUBLISHED.items():
        table = schemas.BY_NAME[name]
        if not (table.appended or (schemas.CLIPS.name if table.view else name) in written):
            continue
        columns = [column for column in table.dtypes if column not in left_out]
        listed = ", ".join(f'"{column}"' for column in columns)
        reader.cursor.execute(f"CREATE OR REPLACE TABLE {database}.{name} AS SELECT {listed} FROM {name}")
        reader.cursor.execute(f"COMMENT ON TABLE {database}.{name} IS {quoted(table.doc)}")
        for column in columns:
            reader.cursor.execute(f'COMMENT ON COLUMN {database}.{name}."{column}" IS {quoted(table.comments[column])}')
