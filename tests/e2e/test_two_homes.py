"""Two homes, one bucket, one Postgres: what they curate at once is what one machine makes alone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.lake import open_lake
from lafid_assets.schemas import CLIPS, FACE_EMBEDDINGS, FACE_INFO, LAFID_DATASET, POSE_FILTERED_CLIPS, SPEECH_TAGGED_CLIPS
from resources.settings import Settings
from tests.demo_home import PROJECT_ROOT, Demo, run_lafid

pytestmark = [pytest.mark.e2e, pytest.mark.long]
COMPARED = (CLIPS, FACE_INFO, FACE_EMBEDDINGS, POSE_FILTERED_CLIPS, SPEECH_TAGGED_CLIPS, LAFID_DATASET)
OF_THE_PLACE = ("shard", "path", "clip_root")


@pytest.fixture
def folders(demo: Demo, tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path]) -> Path:
    """Folders a and b, each with another clip of one person that is kept, and c, whose clips are not."""
    root = tmp_path / "footage"
    kept = demo.rows(
        "SELECT path FROM raw_clips JOIN lafid_dataset USING (clip_id, path) WHERE identity_id = (SELECT min(identity_id) FROM "
        "(SELECT identity_id FROM lafid_dataset GROUP BY identity_id HAVING count(*) > 1)) ORDER BY path LIMIT 2"
    )
    for number, name in enumerate("abc"):
        face = np.asarray(Image.fromarray(portrait[:320, 64 + number : 384 + number]).resize((160, 160)), np.uint8)
        write_video(root / name / "still.mp4", pictures=np.stack([face] * 10))
    for name, (path,) in zip("ab", kept, strict=True):
        shutil.copy(demo.home / "sample_footage" / str(path), root / name / "turns.mp4")
    (root / "c" / "broken.mp4").write_bytes(b"no video" * 100)
    return root


def test_different_shards_and_then_the_same_give_what_one_machine_gives(
    folders: Path, tmp_path: Path, bucket: str, postgres_url: str
) -> None:
    done = run_lafid(tmp_path / "alone", "curate", str(folders))
    assert done.returncode == 0, done.stderr
    alone = Settings(home=tmp_path / "alone", store_uri=str(tmp_path / "alone" / "store"))

    shared = {"LAFID_STORE": f"s3://{bucket}/lafid", "LAFID_CATALOG": postgres_url}
    homes = [tmp_path / "one", tmp_path / "two"]
    for at_once in (("a", "b"), ("c", "c"), ("a", "b")):
        runs = [_curate(home, folders / name, shared) for home, name in zip(homes, at_once, strict=True)]
        for run in runs:
            _, said = run.communicate(timeout=1200)
            assert run.returncode == 0, said
    settings = Settings(home=homes[0], store_uri=shared["LAFID_STORE"], catalog_address=postgres_url)
    ours, theirs = _tables(settings), _tables(alone)
    assert ours[CLIPS.name].height == 6
    assert ours[LAFID_DATASET.name].height == 2
    for name, rows in ours.items():
        assert rows.equals(theirs[name]), name


def _curate(home: Path, folder: Path, shared: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "lafid_assets.cli.main", "curate", str(folder)],
        cwd=PROJECT_ROOT,
        env=os.environ | shared | {"LAFID_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _tables(settings: Settings) -> dict[str, pl.DataFrame]:
    """Table to its rows, but for where the clips lie; `dataset_version` is a column of the last one."""
    lake = open_lake(settings, read_only=True)
    try:
        found = {table.name: lake.read(table.name).drop(OF_THE_PLACE, strict=False) for table in COMPARED}
    finally:
        lake.close()
    return {
        name: rows.sort([column for column in rows.columns if column.endswith(("_id", "_index"))]) for name, rows in found.items()
    }
