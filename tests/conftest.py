"""What many tests share: an installation in a temporary folder, small real videos, rows that keep the contract, a local S3.

Everything is handed out as a fixture, so that no test imports a sibling.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.lake import open_lake
from lafid_assets.steps.contract import TableSchema
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore

pytest_plugins = (
    "tests.own_home",
    "tests.soaks",
    "tests.demo_home",
    "tests.drawer",
    "tests.forked",
    "tests.imported",
    "tests.lafid_assets.chat_server",
    "tests.model_weights",
    "tests.postgres",
    "tests.registries",
    "tests.revisions",
    "tests.zoo",
)

ADDRESSES = (
    "LAFID_HOME",
    "LAFID_MODELS",
    "LAFID_ONNX_PROVIDER",
    "LAFID_STORE",
    "LAFID_CATALOG",
    "LAFID_DROP",
    "LAFID_DAGSTER_YAML",
    "LAFID_LAUNCH",
    "LAFID_SETTINGS",
    "LAFID_DAGSTER_DB",
    "LAFID_DAGSTER_URL",
    "RAY_JOB_ADDRESS",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "DAGSTER_HOME",
    "MLFLOW_TRACKING_URI",
    "AWS_ENDPOINT_URL",
    "PYTHONUNBUFFERED",  # a plain machine does not set it, and what children print must arrive all the same
)


@pytest.fixture(autouse=True)
def _own_addresses(monkeypatch: pytest.MonkeyPatch, _counter: Iterator[int]) -> None:
    """No test reads or leaves behind where an installation of this machine lives; one that names no home has a fresh one."""
    for name in ADDRESSES:
        monkeypatch.setenv(name, "")  # so that what the code itself sets is undone, too
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAFID_HOME", str(Path.home() / f"lafid {os.getpid()} {next(_counter)}"))


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> Iterator[None]:
    """Dagster and MLflow read all their migrations for every database that they make or open, to learn which is the last: three
    quarters of what a Dagster instance in memory costs."""
    from alembic.script import ScriptDirectory

    read, kept = ScriptDirectory.from_config, {}

    def once(config: Any) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in kept:
            kept[place] = read(config)
        return kept[place]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptDirectory, "from_config", once)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    return Settings(home=home, store_uri=str(home / "store"))


@pytest.fixture
def store(settings: Settings) -> FileStore:
    return FileStore(settings.store_uri)


@pytest.fixture(scope="session")
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake has all tables and no rows: copying it is cheaper than making the tables."""
    home = tmp_path_factory.mktemp("empty") / "home"
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")))
    lake.stamps()
    lake.close()
    return home


@pytest.fixture
def lake(settings: Settings, _empty_home: Path) -> Iterator[Lake]:
    """A lake without rows, in the home of `settings`."""
    shutil.copytree(_empty_home, settings.home, dirs_exist_ok=True)
    lake = open_lake(settings)
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def row_of() -> Callable[..., dict[str, Any]]:
    """A row of a table that keeps its contract; keywords set what matters to the test."""
    return _row_of


def _row_of(table: TableSchema, **values: Any) -> dict[str, Any]:
    unknown = set(values) - set(table.dtypes)
    assert not unknown, f"{table.name} has no column {unknown}"
    row = {column.name: None if column.nullable else _plain_value(column) for column in table.columns}
    return row | values


def _plain_value(column: Any) -> Any:
    if column.one_of:
        return str(column.one_of[0])
    if column.dtype == pl.String:
        return "x"
    if column.dtype == pl.Boolean:
        return True
    return [] if isinstance(column.dtype, pl.List) else 1


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    return _write_video


def _write_video(
    path: Path,
    *,
    seconds: float = 1.0,
    fps: int = 10,
    pictures: NDArray[np.uint8] | None = None,
    sound_s: float = 0.0,
    pts_ms: list[int] | None = None,
    options: dict[str, str] | None = None,
    title: str | None = None,
    container_options: dict[str, str] | None = None,
    form: str = "mp4",
) -> Path:
    """A small H.264 mp4. Frame number n is grey with the value 8 n unless `pictures` (T, H, W, 3) says otherwise.

    Args:
        pts_ms: time of every frame instead of a constant rate.
        sound_s: length of a tone beside the picture; none when 0.
        form: container; matroska keeps a late start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if pictures is None:
        count = len(pts_ms) if pts_ms else round(seconds * fps)
        pictures = np.stack([np.full((48, 64, 3), 8 * n % 256, np.uint8) for n in range(count)])
    with av.open(str(path), "w", format=form, container_options=container_options or {}) as container:
        if title is not None:
            container.metadata["title"] = title
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"} | (options or {}))
        video.height, video.width, video.pix_fmt = pictures.shape[1], pictures.shape[2], "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=16_000, layout="mono") if sound_s else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = pts_ms[number] if pts_ms else round(number * 1000 / fps)
            container.mux(video.encode(frame))
        for start in range(0, round(sound_s * 16_000) if sound else 0, 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.2).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(sound.encode(samples))
        for stream in filter(None, (video, sound)):
            container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """The public-domain portrait of Eileen Collins, (512, 512, 3)."""
    from skimage.data import astronaut

    return np.asarray(astronaut(), np.uint8)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(_s3_server: str, monkeypatch: pytest.MonkeyPatch, _counter: Iterator[int]) -> str:
    """Name of a fresh bucket on a local S3 that the environment points to."""
    for name, value in {
        "AWS_ENDPOINT_URL": _s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    name = f"lafid-{next(_counter)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def _counter() -> Iterator[int]:
    return itertools.count()
