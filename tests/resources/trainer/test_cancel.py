"""A training cancelled in the UI: Dagster's own servers, the real trainer. Nothing of it goes on, and the next run does."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.lake import open_lake
from lafid_assets.schemas import FACES, LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.training.base import base_folder
from lafid_assets.training.latents import encode_shard, load_encoding
from model.presets import preset
from resources.lake.lake import Lake
from resources.settings import PROJECT_ROOT, Settings
from resources.store.file_store import FileStore
from tests.ui.graphql import PATIENCE_S, Webserver, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]
CONFIG = {"steps": 12, "validate_every": 4, "validation_clips": 1, "publish": "best"}
BOX = {"box_x1": 30.0, "box_y1": 10.0, "box_x2": 66.0, "box_y2": 50.0}
LANDMARKS = [40.0, 26.0, 56.0, 26.0, 48.0, 34.0, 42.0, 42.0, 54.0, 42.0]
SPLIT_OF = {"a" * 32: "train", "b" * 32: "train", "c" * 32: "validation"}


@pytest.fixture
def home(
    settings: Settings,
    lake: Lake,
    store: FileStore,
    write_video: Callable[..., Path],
    row_of: Callable[..., Any],
    portrait: NDArray[np.uint8],
) -> Path:
    """An installation with latents of three clips of a portrait, one of them held out; nothing is trained yet."""
    rows = []
    for shift, (clip, split) in enumerate(SPLIT_OF.items()):
        face = np.asarray(Image.fromarray(portrait[:320, 60 + shift : 380 + shift]).resize((96, 96)), np.uint8)
        path = write_video(settings.home / "footage" / clip, pictures=np.stack([face] * 12))
        rows.append(
            row_of(
                LAFID_DATASET,
                clip_id=clip,
                content_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                split=split,
                identity_id=f"person-{shift}",
                clip_root=str(path.parent),
                path=clip,
                duration_s=1.2,
                width=96,
                height=96,
                engine="dlib",
                refined_caption="A person looks into the camera.",
                references=[_reference(yaw) for yaw in (0.0, 20.0)],
                identity_embedding=np.eye(128, dtype=np.float32)[shift].tolist(),
                face_track=[
                    {"time_s": 0.0, "frame_index": 2, "face_index": 0}
                    | BOX
                    | {f"{angle}_deg": None for angle in ("yaw", "pitch", "roll")}
                ],
            )
        )
    dataset = LAFID_DATASET.frame(rows)
    embedded = {"face_index": 0, "frame_index": 2, "engine": "dlib", "engine_version": dataset["engine_version"][0]}
    faces = FACES.frame(
        row_of(FACES, clip_id=clip, embedding=np.eye(128, dtype=np.float32)[shift].tolist(), **embedded)
        for shift, clip in enumerate(SPLIT_OF)
    )
    encoding = load_encoding(preset("tiny"), base_folder("tiny", store))
    latents = encode_shard(dataset["shard"][0], dataset, faces, encoding, store)
    lake.put({LAFID_DATASET.name: dataset}, fingerprint="f")
    lake.put({TRAINING_LATENTS.name: latents}, dataset["shard"][0], fingerprint="f")
    settings.prepare()
    return settings.home


def _reference(yaw_deg: float) -> dict[str, Any]:
    place = {
        "frame_index": 2,
        "face_index": 0,
        "pts": 0,
        "yaw_deg": yaw_deg,
        "pitch_deg": 0.0,
        "roll_deg": 0.0,
        "sharpness": 50.0,
    }
    return place | BOX | {"landmarks_px": LANDMARKS, "mask": "oval", "mask_sha256": None}


@pytest.fixture
def dagster(home: Path) -> Iterator[Webserver]:
    """`dagster dev` on this installation: webserver, daemon with its queue, code server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    with open(home / "dagster.log", "wb") as log:
        server = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    webserver = Webserver(f"http://127.0.0.1:{port}")

    def answers() -> bool | None:
        assert server.poll() is None, (home / "dagster.log").read_text()[-3000:]
        try:
            found = webserver.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        except OSError:
            return None
        return bool(found["repositoriesOrError"].get("nodes")) or None

    try:
        wait_for(answers, "Dagster answering")
        yield webserver
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def test_cancelled_training_leaves_no_process_and_the_next_run_goes_on(dagster: Webserver, home: Path) -> None:
    run_config = {"ops": {"fusion_dit": {"config": CONFIG}}}
    cancelled = dagster.materialize("fusion_dit", None, run_config)
    wait_for(lambda: _line(home, "step 4 of 12:"), "step 4")
    assert _trainers(home)
    dagster.terminate(cancelled)
    assert wait_for(lambda: dagster.finished_status(cancelled), "the end of the run") == "CANCELED"
    # Dagster's word is not enough: no supervisor, trainer or rank of this installation is left.
    assert wait_for(lambda: not _trainers(home) or None, "the end of the trainer")
    assert _line(home, "SIGTERM: the state after step ")

    again = dagster.materialize("fusion_dit", None, run_config)
    status = wait_for(lambda: dagster.finished_status(again), "the end of the second run")
    assert status == "SUCCESS", (home / "store/training_runs").rglob("trainer.log").__next__().read_text()[-3000:]
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("fusion_dit"))
    assert event is not None
    shown = event.asset_materialization.metadata
    assert 4 <= shown["resumed_from"].value < 12
    row = open_lake(Settings(home=home, store_uri=str(home / "store")), read_only=True).read("fusion_dit").row(0, named=True)
    assert (row["steps"], row["published"], row["validated_on"]) == (12, "best", "validation")
    assert row["judged_by"] == "likeness"
    assert row["step"] == shown["best_step"].value
    assert row["mlflow_run_id"] == shown["mlflow_run_id"].value
    videos = {record.data["step"]: Path(record.data["path"]) for record in shown["validation_videos"].value.records}
    assert sorted(videos) == [4, 8, 12]
    assert all(path.is_file() for path in videos.values())
    assert shown["curves"].value.startswith("![loss and likeness](data:image/png;base64,")


def _trainers(home: Path) -> list[int]:
    """Processes whose command names this installation's runs."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(home / "store/training_runs") in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def _line(home: Path, begin: str) -> bool | None:
    """Whether the trainer has printed such a line."""
    logs = (home / "store/training_runs").rglob("trainer.log")
    return any(line.startswith(begin) for log in logs for line in log.read_text().splitlines()) or None
