"""An analysis that is played: clips behave as they are named. What the tests of a shard around it share, children included."""

import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.clip_record import Engine
from lafid_assets.faces.shard_analysis import TABLES, Frames, ShardRecipe
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.locate import ClipsAway
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas.measures import EXPRESSIONS
from lafid_assets.workers.pool import Crashed, Done, Ending
from model.face_engine.interface import EngineInfo
from resources.leases.leases import Lease
from resources.store.file_store import FileStore
from resources.store.ledger import Ledger

SHARD = "shard-00000"
INFO = EngineInfo("played", "1.0", 4, "CC0", "engine")


def play(task: ClipTask) -> AnalysedClip:
    """Behaves as the clip is named, writes down that it ran, and gives rows that depend on the clip alone."""
    behaviour = task.footage.name.rstrip("0123456789")
    note_run(task)
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "swell":
        held = bytearray(500 << 20)
        time.sleep(600)
        held.clear()
    if behaviour == "raise":
        raise RuntimeError("an engine's own fault")
    if behaviour == "vanish":
        task.footage.unlink()
        return AnalysedClip(Status.ERROR, Reason.DECODE_FAILED, "no such file", "survey", None, False, 3)
    if behaviour == "slow":
        time.sleep(0.15)
    if behaviour == "torn":
        return AnalysedClip(Status.ERROR, Reason.DECODE_FAILED, "cut short", "survey", None, False, 3, [_frame(task, 0, 0)], [])
    numbers = random.Random(task.clip_id)
    frames = [_frame(task, index, 1) for index in range(3)]
    faces = [_face(task, index, [numbers.random() for _ in range(4)]) for index in range(3)]
    return AnalysedClip(Status.OK, None, None, "survey", None, False, 3, frames, faces)


def without_children(
    work: Callable[[ClipTask], AnalysedClip], tasks: Sequence[ClipTask], *_: object, **__: object
) -> Iterator[tuple[int, Ending[AnalysedClip]]]:
    """`map_footage` for tests of the book-keeping, which need endings and no processes."""
    for index, task in enumerate(tasks):
        name = task.footage.name
        crashes = name == "crash" or (name == "crash-once" and "crash-once" not in runs(task.footage.parent))
        if crashes:
            note_run(task)
        yield index, Crashed(-9) if crashes else Done(work(task))


def note_run(task: ClipTask) -> None:
    with (task.footage.parent / "runs.txt").open("a") as log:
        log.write(f"{task.footage.name}\n")


def runs(root: Path) -> list[str]:
    log = root / "runs.txt"
    return log.read_text().split() if log.exists() else []


def _place(task: ClipTask, index: int) -> dict[str, Any]:
    times = {"frame_index": index, "pts": index, "time_base_num": 1, "time_base_den": 10}
    return times | {"clip_id": task.clip_id, "shard": task.shard, "tier": "survey"}


def _frame(task: ClipTask, index: int, faces: int) -> dict[str, Any]:
    seen = {"time_s": index / 10, "width": 64, "height": 48, "face_count": faces, "luminance": 100.0}
    seen |= dict.fromkeys(("blur", "picture_hash", "crop_hashes"))
    return _place(task, index) | seen


def _face(task: ClipTask, index: int, embedding: Sequence[float]) -> dict[str, Any]:
    angles = ("yaw_deg", "pitch_deg", "roll_deg", "coarse_yaw_deg")
    nothing = dict.fromkeys(("head_height_px", "rotation", *angles, "sharpness", *EXPRESSIONS))
    box = {"box_x1": 1.0, "box_y1": 2.0, "box_x2": 3.0, "box_y2": 4.0, "score": 0.5, "frame_share": 0.1}
    return _place(task, index) | nothing | box | {"face_index": 0, "track_id": 0, "landmarks_px": [1.0], "embedding": embedding}


def recipe(limits: dict[str, Any] | None = None, info: EngineInfo = INFO, **settings: Any) -> ShardRecipe:
    limits = {"memory_limit_mib": 400, "least_deadline_s": 30.0} | (limits or {})
    return ShardRecipe(AnalysisSettings(**settings), ShardLimits(**limits), Engine(info, "asked for"))


def ledger_in(folder: Path, of: ShardRecipe, seconds_per_part: float = 0) -> Ledger:
    return Ledger(FileStore(str(folder)), "face_info", SHARD, of.prints.measures, Lease(SHARD, 1), seconds_per_part)


class Folder:
    """The files of a shard's clips, in one folder; writes down which were asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[list[str]] = []

    def __call__(self, clip_ids: Collection[str]) -> dict[str, Path]:
        self.asked.append(sorted(clip_ids))
        paths = {clip_id: self.root / clip_id for clip_id in clip_ids}
        if away := [clip_id for clip_id, path in paths.items() if not path.exists()]:
            raise ClipsAway(f"away: {', '.join(away)}")
        return paths


def endings(frames: Frames) -> dict[str, tuple[str, str | None, int]]:
    columns = ("clip_id", "status", "reason", "attempts")
    return {name: tuple(rest) for name, *rest in frames["face_clips"].select(columns).iter_rows()}


def same(one: Frames, other: Frames) -> bool:
    return all(one[table.name].equals(other[table.name]) for table in TABLES)
