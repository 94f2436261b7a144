"""Reference faces cut out of a clip and laid into the store as pictures.

Belongs here: one clip's faces -> PNG files, and a shard of them through child processes. Not here: which faces (`references`),
how head and shoulders are cut (`model.encoding.face_processor`), by which mask (`model.encoding.head_mask`).

Two pictures a reference: the face alone (a square of 1.5 times its box, as FaithfulFaces gives it to 6DRepNet), and head and
shoulders on white (CoFE's face processor). Both keep the frame's own scale up to 512 px a side; larger ones are scaled down to
that, nothing is enlarged. They lie at `crops/<first two>/<content hash>/<key>-face.png` and `-head.png`; the key is a hash of
frame, face, mask and this module's version: what is there is never cut again, and a clip's pictures are one folder. Those of a
piece lie below its recording's, in a folder that is named by its interval.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.faces.sampling import frames_at
from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.ingest.media_probe import unchanged
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import REFERENCE_CROPS
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Done
from model.encoding.footage import Footage, passed_s
from model.encoding.head_mask import MaskChoice, MaskInfo
from resources.store.file_store import FileStore

FOLDER = "crops"
FACE_SCALE = 1.5
MOST_SIDE_PX = 512
CUTTING_VERSION = 2
LEAST_DEADLINE_S = 60.0
DEADLINE_S_PER_S = 20.0

Row = Mapping[str, Any]


@dataclass(frozen=True)
class FaceSpot:
    """One face to cut out. Plain values: it crosses a process border."""

    frame_index: int
    box_xyxy_px: tuple[float, float, float, float]
    landmarks_px: tuple[float, ...]


@dataclass(frozen=True)
class CutTask:
    """One clip and its faces. `footage`: where it lies; None where it cannot be reached."""

    clip_id: str
    footage: Footage | None
    content_sha256: str
    duration_s: float
    faces: tuple[FaceSpot, ...]
    mask: MaskChoice


def folder_of(content_sha256: str, interval: tuple[int, int] | None = None) -> str:
    """Where in the store the pictures of a clip lie: those of a piece in the folder of its recording.

    Args:
        interval: first and last timestamp of a piece; None of a whole file.
    """
    folder = f"{FOLDER}/{content_sha256[:2]}/{content_sha256}"
    return folder if interval is None else f"{folder}/{interval[0]}_{interval[1]}"


def are_there(paths: Iterable[str], store: FileStore) -> bool:
    """Whether all of these pictures lie in the store: one listing a clip."""
    wanted = set(paths)
    folders = {path.rpartition("/")[0] for path in wanted}
    return wanted <= {f"{folder}/{name}" for folder in folders for name in store.list_files(folder)}


def cut_references(
    references: pl.DataFrame, clips: pl.DataFrame, places: Mapping[str, Footage], store: FileStore, mask: MaskChoice
) -> pl.DataFrame:
    """Cut every reference that is not in the store yet; a clip that cannot be opened any more costs its own rows their pictures.

    Args:
        references: rows of `references.choose_references`.
        clips: `clip_id`, `content_sha256`, `duration_s`, `first_pts` and `last_pts` of these clips, as in `footage`.
        places: clip to where it lies, as `locate` gives it.
        mask: what cuts the heads out.

    Returns:
        rows of `reference_crops`.
    """
    by_clip = {row["clip_id"]: row for row in clips.iter_rows(named=True)}
    chosen: dict[str, list[Row]] = {}
    for reference in references.iter_rows(named=True):
        chosen.setdefault(reference["clip_id"], []).append(reference)
    tasks = [
        _task(by_clip[clip], rows, places.get(clip), mask)
        for clip, rows in chosen.items()
        if not _all_there(by_clip[clip], rows, store, mask.info)
    ]
    faults: dict[str, Fault] = {}
    endings = map_footage(cut_clip, tasks, _deadline_s, footage_of=lambda task: task.footage)
    for index, ending in track(endings, "reference_crops", len(tasks)):
        made, clip_id = ending.value if isinstance(ending, Done) else fault_of(ending), tasks[index].clip_id
        if isinstance(made, Fault):
            faults[clip_id] = made
            continue
        for row, pictures in zip(chosen[clip_id], made, strict=True):
            for path, png in zip(_paths(by_clip[clip_id], row, mask.info), pictures, strict=True):
                store.write_bytes(path, png)
    return REFERENCE_CROPS.frame(
        _row(row, by_clip[clip], faults.get(clip), mask) for clip, rows in chosen.items() for row in rows
    )


def cut_clip(task: CutTask) -> list[tuple[bytes, bytes]] | Fault:
    """(face, head) PNG of every face of one clip, in the order of the task, decoded once; a fault of the clip comes back."""
    try:
        frames = frames_at(unchanged(task.footage, task.content_sha256), {spot.frame_index for spot in task.faces})
        return [_pictures(frames[spot.frame_index], spot, task.mask) for spot in task.faces]
    except ClipError as error:
        return Fault(Status.ERROR, error.reason, error.detail)
    except OSError as error:
        return Fault(Status.ERROR, Reason.UNREADABLE, f"the file cannot be read: {error.strerror}")


def _pictures(frame: NDArray[np.uint8], spot: FaceSpot, mask: MaskChoice) -> tuple[bytes, bytes]:
    from model.encoding.face_processor import head_and_shoulders
    from model.encoding.head_mask import open_mask
    from model.face_engine.crops import square_crop

    face = square_crop(frame, spot.box_xyxy_px, FACE_SCALE)
    if face is None:
        raise ClipError(Reason.ENGINE_FAILED, f"the face box in frame {spot.frame_index} has no area")
    landmarks = np.asarray(spot.landmarks_px, np.float32).reshape(-1, 2)
    return _png(face), _png(head_and_shoulders(frame, spot.box_xyxy_px, open_mask(mask), landmarks))


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((MOST_SIDE_PX, MOST_SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _task(clip: Row, rows: list[Row], footage: Footage | None, mask: MaskChoice) -> CutTask:
    faces = tuple(FaceSpot(row["frame_index"], _box(row), tuple(row["landmarks_px"])) for row in rows)
    return CutTask(clip["clip_id"], footage, clip["content_sha256"], clip["duration_s"] or 0.0, faces, mask)


def _deadline_s(task: CutTask) -> float:
    decoded_s = task.duration_s + (passed_s(task.footage) if task.footage else 0.0)
    return LEAST_DEADLINE_S + DEADLINE_S_PER_S * decoded_s


def _box(row: Row) -> tuple[float, float, float, float]:
    return row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"]


def _paths(clip: Row, row: Row, mask: MaskInfo) -> tuple[str, str]:
    interval = None if clip["first_pts"] is None else (clip["first_pts"], clip["last_pts"])
    folder = folder_of(clip["content_sha256"], interval)
    face = [row["frame_index"], row["face_index"], _box(row), row["landmarks_px"]]
    facts = [CUTTING_VERSION, mask.model_dump(), FACE_SCALE, MOST_SIDE_PX, *face]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return f"{folder}/{key}-face.png", f"{folder}/{key}-head.png"


def _all_there(clip: Row, rows: list[Row], store: FileStore, mask: MaskInfo) -> bool:
    return are_there([path for row in rows for path in _paths(clip, row, mask)], store)


def _row(row: Row, clip: Row, fault: Fault | None, mask: MaskChoice) -> dict[str, Any]:
    known = {column.name: row[column.name] for column in REFERENCE_CROPS.columns if column.name in row}
    face, head = _paths(clip, row, mask.info) if fault is None else (None, None)
    outcome = {"status": Status.OK, "reason": None, "detail": None} if fault is None else fault._asdict()
    cut_by = {"mask": mask.info.name, "mask_sha256": mask.info.sha256, "mask_licence": mask.licence}
    return known | outcome | cut_by | {"face_path": face, "head_path": head}
