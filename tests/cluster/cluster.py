"""A cluster of machines on this one: Postgres, S3, Dagster, a Ray head without CPUs, and nodes with homes of their own.

Belongs here: what runs where, and with which addresses. Not here: machines (`space`), what happens to them (`trial`).
"""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from resources.settings import PROJECT_ROOT, Settings
from tests import postgres
from tests.cluster.space import SITE_ADDRESS, Space, build_site

HEAD, FIRST_NODE = 2, 11
GCS_PORT, JOBS_PORT, WEB_PORT, S3_PORT = 6379, 8265, 3000, 5000
BUCKET = "lafid"
CPUS = 2
"""Of a node, as Ray is told: so many runs of one CPU at once."""
QUICK_PYTHON = Path(__file__).parent / "quick"
UP_S = 300.0
QUICK = {
    "run_monitoring": {"poll_interval_seconds": 2, "free_slots_after_run_end_seconds": 5},
    "run_queue": {"dequeue_interval_seconds": 1},
}
"""Of `dagster.ray.yaml`: what makes a test wait."""
QUICK_RAY = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that says nothing counts as dead after some seconds, not half a minute."""


@dataclass
class Cluster:
    """One that answers.

    Attributes:
        folder: of all homes and logs.
        environment: what every process of it begins with, but for its home.
        gpu_nodes: those that tell Ray of a GPU, which none of them has.
    """

    folder: Path
    postgres_url: str
    environment: dict[str, str]
    head: Space
    gpu_nodes: Collection[str] = ()
    nodes: dict[str, Space] = field(default_factory=dict)
    services: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The installation as the machine sees it at which people work."""
        return Settings(
            home=self.home("desk"), store_uri=self.environment["LAFID_STORE"], catalog_address=self.environment["LAFID_CATALOG"]
        )

    def home(self, machine: str) -> Path:
        """A machine's own."""
        return self.folder / f"home-{machine}"

    def at(self, machine: str) -> dict[str, str]:
        """The environment there."""
        return self.environment | {"LAFID_HOME": str(self.home(machine))}

    def start_head(self) -> None:
        """Also again: what it knew lies on its disk."""
        self.head = Space("head", HEAD, _head_command(self.folder), self.at("head"), self.folder / "head.log")

    def add_node(self, name: str) -> None:
        """Also again, after it was killed."""
        number = FIRST_NODE + sorted({*self.nodes, name}).index(name)
        told = [*RAY, "start", "--block", f"--address={_address(HEAD)}:{GCS_PORT}", f"--num-cpus={CPUS}"]
        told += [f"--num-gpus={int(name in self.gpu_nodes)}"]
        command = [*KEPT_UP, *told, f"--node-ip-address={_address(number)}", *_COMMON, f"--temp-dir={self.folder}/r{number}"]
        self.nodes[name] = Space(name, number, command, self.at(name), self.folder / f"{name}.log")


RAY = (sys.executable, "-m", "ray.scripts.scripts")
"""Not the script `ray`: its first line names the environment's true place, which may hold a space."""
KEPT_UP = ("sh", "-c", 'while :; do "$@"; sleep 2; done', "sh")
"""What watches over Ray on a machine: one that hears that it was taken for dead ends, and joins anew."""
_COMMON = ("--include-log-monitor=False", "--object-store-memory=80000000", "--disable-usage-stats")


def _address(number: int) -> str:
    return f"{SITE_ADDRESS.rpartition('.')[0]}.{number}"


def _head_command(folder: Path) -> list[str]:
    told = [*RAY, "start", "--block", "--head", "--no-monitor", f"--port={GCS_PORT}", "--num-cpus=0", "--num-gpus=0"]
    listens = ["--dashboard-host=0.0.0.0", f"--dashboard-port={JOBS_PORT}", f"--node-ip-address={_address(HEAD)}"]
    return [*KEPT_UP, *told, *listens, *_COMMON, f"--temp-dir={folder}/r{HEAD}"]


@contextmanager
def running(
    folder: Path, nodes: int, most_runs: int, gpu_nodes: Collection[str] = (), launch: Path | None = None
) -> Iterator[Cluster]:
    """A cluster in this site, which must be one of its own (`space.APART`): its processes end with the site.

    Args:
        folder: short, for the paths of Unix sockets are.
        nodes: how many.
        most_runs: at once, of all.
        launch: the launch file.
    """
    build_site()
    programs = postgres.newest_programs()
    assert programs is not None
    data = folder / "pg"
    data.mkdir()
    with postgres.serving(programs, data, SITE_ADDRESS) as url:
        for database in ("lake", "dagster"):
            postgres.execute(url, f"CREATE DATABASE {database}")
        cluster = Cluster(folder, url, _environment(folder, url), head=None, gpu_nodes=gpu_nodes)  # type: ignore[arg-type]
        cluster.environment |= {} if launch is None else {"LAFID_LAUNCH": str(launch)}
        _write_dagster_yaml(folder / "dagster.yaml", most_runs)
        (folder / "token").write_text(secrets.token_hex(32))
        cluster.start_head()
        _service(cluster, "s3", [sys.executable, "-m", "moto.server", "-H", SITE_ADDRESS, "-p", str(S3_PORT)])
        os.environ.update(cluster.at("desk"))
        cluster.settings.prepare()
        for name, more in (("daemon", ["run"]), ("webserver", ["-h", SITE_ADDRESS, "-p", str(WEB_PORT)])):
            program = str(Path(sys.executable).with_name(f"dagster-{name}"))
            _service(cluster, name, [program, *more, "-w", str(PROJECT_ROOT / "workspace.yaml")])
        _wait(lambda: _answers(cluster.environment["AWS_ENDPOINT_URL"]), "S3", folder)
        _make_bucket()
        _wait(lambda: _answers(f"{cluster.environment['RAY_JOB_ADDRESS']}/api/version", cluster), "Ray's head", folder)
        for name in [f"node{number}" for number in range(1, nodes + 1)]:
            cluster.add_node(name)
            # One by one: Ray gives a node's agents 15 s to start, ends otherwise, and begins anew: on a busy machine for ever.
            _wait(lambda: nodes_alive(cluster) == len(cluster.nodes) + 1, f"Ray's {name}", folder)
        _wait(lambda: _answers(f"{cluster.environment['LAFID_DAGSTER_URL']}/server_info"), "Dagster", folder)
        yield cluster


def _environment(folder: Path, url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    return (
        kept
        | QUICK_RAY
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{PROJECT_ROOT}:{QUICK_PYTHON}",  # the checkout that is tested, whichever the environment was made for
            "LAFID_STORE": f"s3://{BUCKET}/store",
            "LAFID_CATALOG": f"{url}/lake",
            "LAFID_DAGSTER_DB": f"{url.replace('postgresql', 'postgresql+psycopg2', 1)}/dagster",
            "LAFID_DAGSTER_YAML": str(folder / "dagster.yaml"),
            "LAFID_DAGSTER_URL": f"http://{SITE_ADDRESS}:{WEB_PORT}",
            "RAY_JOB_ADDRESS": f"http://{_address(HEAD)}:{JOBS_PORT}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_gcs_storage": "rocksdb",
            "RAY_gcs_storage_path": f"{folder}/gcs",
            "AWS_ENDPOINT_URL": f"http://{SITE_ADDRESS}:{S3_PORT}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )


def _write_dagster_yaml(path: Path, most_runs: int) -> None:
    told: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.ray.yaml").read_text())
    for section, lines in QUICK.items():
        told[section] |= lines
    told["concurrency"]["runs"]["max_concurrent_runs"] = most_runs
    path.write_text(yaml.safe_dump(told))


def _service(cluster: Cluster, name: str, command: list[str]) -> None:
    environment = cluster.at("desk") | {"DAGSTER_HOME": str(cluster.settings.dagster_home)}
    with (cluster.folder / f"{name}.log").open("wb") as log:
        begun = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    cluster.services.append(begun)


def _make_bucket() -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)


def _answers(url: str, cluster: Cluster | None = None) -> bool:
    asked = urllib.request.Request(url, headers=_token(cluster) if cluster else {})
    with suppress(OSError), urllib.request.urlopen(asked, timeout=5):
        return True
    return False


def _token(cluster: Cluster) -> dict[str, str]:
    return {"Authorization": f"Bearer {(cluster.folder / 'token').read_text()}"}


def nodes_alive(cluster: Cluster) -> int:
    """How many Ray counts, its head among them; 0 where it does not answer."""
    asked = urllib.request.Request(f"{cluster.environment['RAY_JOB_ADDRESS']}/nodes?view=summary", headers=_token(cluster))
    with suppress(OSError), urllib.request.urlopen(asked, timeout=10) as answer:
        return sum(node["raylet"]["state"] == "ALIVE" for node in json.load(answer)["data"]["summary"])
    return 0


def _wait(done: Callable[[], bool], what: str, folder: Path) -> None:
    give_up = time.monotonic() + UP_S
    while not done():
        assert time.monotonic() < give_up, (
            f"{what} did not come up: {[path.read_text()[-2000:] for path in folder.glob('*.log')]}"
        )
        time.sleep(0.3)
