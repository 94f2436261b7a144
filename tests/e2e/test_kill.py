"""Kill it anywhere, run it again: the tables are those of an undisturbed run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.lake import open_lake
from lafid_assets.outcomes import Reason
from lafid_assets.sample_footage.build import build_sample_footage
from lafid_assets.sample_footage.screenplay import SCENES
from lafid_assets.schemas import TABLES
from resources.lake.lake import Lake, LakeUnusable
from resources.lake.writer import frame_digest
from resources.settings import Settings
from tests.demo_home import PROJECT_ROOT, run_lafid

pytestmark = pytest.mark.e2e
SHARDS = 2
OVER_FACES_S = (0.2, 2.0)
"""Seconds after `face_info` has children."""
AFTER_START_S = (3.0, 12.0)
NEVER = 10**6
PROGRAM = """
import os, signal, sys
from lafid_assets.cli.main import main
from resources.lake.connection import LakeConnection

left, commit = int(sys.argv.pop(1)), LakeConnection.commit

def commit_or_die(self, begun):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, begun)

LakeConnection.commit = commit_or_die
main()
"""
"""`lafid` that is killed before the commit of that number: its data files are written, and no catalog names them."""
TIMES = ("seen_at", "made_at", "snapshot")


@pytest.fixture
def footage(tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path]) -> Path:
    """A plain folder: three of the sample footage's scenes, kept, rejected and unreadable, and four clips of a portrait."""
    folder = tmp_path / "footage"
    folder.mkdir()
    wanted = (None, Reason.NO_FACE, Reason.UNREADABLE)
    scenes = tuple(min((one for one in SCENES if one.reason == reason), key=lambda one: one.duration_s) for reason in wanted)
    build_sample_footage(tmp_path / "built", scenes=scenes, workers=1)
    for scene in scenes:
        shutil.copy(tmp_path / "built" / scene.path, folder / f"{scene.name}.mp4")
    for shift in range(4):
        face = np.asarray(Image.fromarray(portrait[:320, 64 + shift : 384 + shift]).resize((160, 160)), np.uint8)
        write_video(folder / f"{shift}.mp4", pictures=np.stack([face] * 10))
    assert len(list(folder.iterdir())) == 7
    return folder


@pytest.mark.soak
def test_killed_runs_leave_no_child_and_end_like_an_undisturbed_one(footage: Path, tmp_path: Path, soak: bool) -> None:
    """At random moments and between data files and commit; over faces only the parent, and its children must notice.

    What was finished of a shard is in a ledger, which is gone at the end.
    """
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    arguments = ("curate", str(footage), "--clips-per-shard", "4")
    done = run_lafid(undisturbed, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = _digests(undisturbed)
    for moment_s in OVER_FACES_S:
        _kill_over_faces(moment_s, disturbed, *arguments)
    seed = random.randrange(10**9) if soak else 14
    chance, kills = random.Random(seed), len(OVER_FACES_S)
    while kills < (100 if soak else 4):
        if _is_killed(chance, disturbed, *arguments):
            kills += 1
        else:
            assert _digests(disturbed) == expected, f"seed {seed}, before kill {kills + 1}"
            shutil.rmtree(disturbed)
    done = run_lafid(disturbed, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _digests(disturbed) == expected, f"seed {seed}"
    assert not list((disturbed / "store/ledger").rglob("*.parquet"))


def _is_killed(chance: random.Random, home: Path, *arguments: str) -> bool:
    """Run, and kill it before one of its next commits or after some seconds; whether that was before its end."""
    by_commit = chance.random() < 0.5
    commits = chance.randint(1, 5) if by_commit else NEVER
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(commits), *arguments], **_at(home)) as run:
        try:
            run.wait(timeout=1200 if by_commit else chance.uniform(*AFTER_START_S))
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert run.returncode in (0, -signal.SIGKILL)
    return run.returncode != 0


def _kill_over_faces(moment_s: float, home: Path, *arguments: str) -> None:
    """Kill the run a moment after `face_info` has children."""
    run = subprocess.Popen([sys.executable, "-c", PROGRAM, str(NEVER), *arguments], **_at(home))
    with closing(_lake(home)) as lake:  # opening it anew at every look takes a core from the run that is waited for
        while not (_children(run.pid) and _is_probed(lake)):
            assert run.poll() is None, "face_info never had a child"
            time.sleep(0.05)
    time.sleep(moment_s)
    children = _children(run.pid)
    run.kill()
    run.wait()
    for _ in range(600):
        if not any(_runs(pid) for pid in children):
            return
        time.sleep(0.05)
    raise AssertionError(f"children {children} outlived their parent")


def _children(pid: int) -> list[int]:
    """Processes that `workers` started for it."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _at(home: Path) -> dict[str, Any]:
    """How a run is started on a home."""
    nothing = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    return nothing | {"cwd": PROJECT_ROOT, "env": os.environ | {"LAFID_HOME": str(home)}}


def _is_probed(lake: Lake) -> bool:
    """Whether the clips of all shards are known, so that children look at faces now."""
    with suppress(LakeUnusable):  # there are no tables yet
        return len(lake.stamps(["clips"])) == SHARDS
    return False


def _lake(home: Path) -> Lake:
    return open_lake(Settings(home=home, store_uri=str(home / "store")), read_only=True)


def _digests(home: Path) -> dict[str, str]:
    """Table to the digest of what it holds. When files were seen and a version was made differs between any two runs."""
    with _lake(home).snapshot() as reader:
        held = {table.name: reader.sql(f"SELECT * FROM {table.name}").drop(TIMES, strict=False) for table in TABLES}
    return {name: frame_digest(rows.sort(rows.columns[:4])) for name, rows in held.items()}
