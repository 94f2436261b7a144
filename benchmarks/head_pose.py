"""Head pose and detection of the embedded engine, judged by other models: `python -m benchmarks.head_pose [--json]`.

The judges are those of ../shared/testdata/verify.py: SCRFD 2.5g says where a face is, the mean of two FSA-Net networks
how it stands. Judged are evenly spaced frames of the single-person clips (SCRFD never sees two faces, and a face in at
least a tenth of the frames). The clips judge and never fit. Exit code 1 where a bar is missed, 2 without ../shared.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.face_engine.dlib_engine import DlibEngine
from model.face_engine.interface import Box, Face

T = TypeVar("T")
TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"
MAX_YAW_DEG = 45.0
YAW_RANGES = ((0, 15), (15, 30), (30, 45))
BARS = {"yaw_mae_deg": 3.0, "yaw_mae_30_45_deg": 8.0, "pitch_mae_deg": 4.0, "roll_mae_deg": 2.0, "found_share": 0.9}
"""Upper bounds; `found_share` is a lower one."""


@dataclass(frozen=True)
class Judged:
    """One frame in which SCRFD sees a face: FSA-Net's yaw, pitch, roll in degrees, and the engine's face there."""

    clip: str
    reference_deg: NDArray[np.float64]
    face: Face | None


@dataclass
class Timings:
    """CPU milliseconds of the engine's calls (dlib computes in one thread)."""

    detect: list[float] = field(default_factory=list)
    embed: list[float] = field(default_factory=list)
    landmarks: list[float] = field(default_factory=list)


def load_judges(testdata: Path) -> tuple[ModuleType, tuple[Any, ...]]:
    """verify.py as a module, and its loaded models (detector, identity, pose pair, mouth).

    Raises:
        FileNotFoundError: the test data is not there.
    """
    script = testdata / "verify.py"
    if not script.is_file():
        raise FileNotFoundError("the judges and clips are missing: this benchmark needs ../shared/testdata beside the project")
    spec = importlib.util.spec_from_file_location("head_pose_judges", script)
    assert spec is not None
    assert spec.loader is not None
    judges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judges)
    return judges, judges.load()


def judge_clip(
    path: Path, engine: DlibEngine, judges: ModuleType, models: tuple[Any, ...], frames: int, timings: Timings
) -> list[Judged]:
    """The frames of one clip in which SCRFD sees a face; none where the clip is not a single person's."""
    detector, _, pose_pair, _ = models
    judged: list[Judged] = []
    asked = 0
    for image in _sampled_frames(path, judges, frames):
        asked += 1
        bgr = np.ascontiguousarray(image[..., ::-1])
        boxes = judges.detect(detector, bgr)[0]
        if len(boxes) > 1:
            return []
        if len(boxes):
            reference = np.asarray(judges.pose(pose_pair, bgr, boxes[0]), np.float64)
            face = _face_inside(_timed_faces(engine, image, timings, embed=len(judged) % 10 == 0), boxes[0][:4])
            judged.append(Judged(path.name, reference, face))
    return judged if len(judged) >= asked / 10 else []


def _sampled_frames(path: Path, judges: ModuleType, frames: int) -> Iterator[NDArray[np.uint8]]:
    count = sum(1 for _ in judges.frames(str(path)))
    wanted = set(np.linspace(0, count - 1, min(frames, count)).round().astype(int).tolist())
    for index, frame in enumerate(judges.frames(str(path))):
        if index in wanted:
            yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def _timed_faces(engine: DlibEngine, image: NDArray[np.uint8], timings: Timings, *, embed: bool) -> list[Face]:
    faces, detect_ms = _timed(lambda: engine.detect(image, embed=False))
    timings.detect.append(detect_ms)
    if embed and faces:
        _, landmarks_ms = _timed(lambda: engine.landmarks(image, faces[0].box_xyxy_px))
        _, both_ms = _timed(lambda: engine.detect(image))
        timings.landmarks.append(landmarks_ms)
        timings.embed.append((both_ms - detect_ms) / len(faces))
    return faces


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The call's result and its milliseconds on this thread, free of the judges' own spinning threads."""
    start = time.thread_time()
    result = call()
    return result, 1e3 * (time.thread_time() - start)


def _face_inside(faces: list[Face], box: Box) -> Face | None:
    """The largest face whose centre lies in the box."""
    for face in faces:
        x1, y1, x2, y2 = face.box_xyxy_px
        if box[0] < (x1 + x2) / 2 < box[2] and box[1] < (y1 + y2) / 2 < box[3]:
            return face
    return None


def summarise(judged: list[Judged]) -> dict[str, Any]:
    """Mean absolute differences in degrees, correlations and shares; the bars' names are keys.

    Angles are compared where the reference's |yaw| is at most 45 degrees and the engine gives a pose.
    """
    reference = np.stack([frame.reference_deg for frame in judged])
    angles = [frame.face.angles if frame.face else None for frame in judged]
    posed = np.array([a is not None for a in angles])
    found = np.array([frame.face is not None for frame in judged])
    own = np.array([tuple(a) if a else (np.nan,) * 3 for a in angles])
    yaw = np.abs(reference[:, 0])
    near = yaw <= MAX_YAW_DEG
    compared = posed & near
    error = np.abs(own - reference)
    summary: dict[str, Any] = {
        "clips": len({frame.clip for frame in judged}),
        "frames": len(judged),
        "frames_compared": int(compared.sum()),
        "found_share": float(found.mean()),
        "found_share_yaw_to_45": float(found[near].mean()),
        "pose_share_of_found_yaw_to_45": float(posed[near & found].mean()),
        "found_beyond_45": int((found & ~near).sum()),
        "pose_given_beyond_45": int((posed & ~near).sum()),
    }
    for column, name in enumerate(("yaw", "pitch", "roll")):
        summary[f"{name}_mae_deg"] = float(error[compared, column].mean())
        summary[f"{name}_correlation"] = float(np.corrcoef(own[compared, column], reference[compared, column])[0, 1])
    for low, high in YAW_RANGES:
        within = compared & (yaw >= low) & (yaw < high)
        summary[f"frames_{low}_{high}"] = int(within.sum())
        for column, name in enumerate(("yaw", "pitch", "roll")):
            summary[f"{name}_mae_{low}_{high}_deg"] = float(error[within, column].mean()) if within.any() else None
    return summary


def missed_bars(summary: dict[str, Any]) -> list[str]:
    """Names of the bars that are not met."""
    missed = [name for name, bar in BARS.items() if name != "found_share" and not summary[name] <= bar]
    return missed + (["found_share"] if summary["found_share"] < BARS["found_share"] else [])


def main() -> int:
    parser = argparse.ArgumentParser(description="Head pose of the embedded engine against FSA-Net on the test clips.")
    parser.add_argument("--frames", type=int, default=40, help="evenly spaced frames a clip")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments = parser.parse_args()
    try:
        judges, models = load_judges(TESTDATA)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    engine, timings = DlibEngine(), Timings()
    judged: list[Judged] = []
    for path in sorted((TESTDATA / "clips").iterdir()):
        of_clip = judge_clip(path, engine, judges, models, arguments.frames, timings)
        judged += of_clip
        if of_clip and not arguments.json:
            part = summarise(of_clip)
            print(
                f"{path.name:48} frames {part['frames']:3}  found {part['found_share']:.2f}  "
                f"yaw {part['yaw_mae_deg']:5.2f}  pitch {part['pitch_mae_deg']:5.2f}  roll {part['roll_mae_deg']:5.2f}",
                flush=True,
            )
    summary = summarise(judged)
    summary |= {f"{name}_cpu_ms": float(np.median(ms)) for name, ms in vars(timings).items()}
    missed = missed_bars(summary)
    if arguments.json:
        print(json.dumps({**summary, "bars": BARS, "missed": missed}, indent=2))
    else:
        _print_table(summary)
        print("all bars met" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


def _print_table(summary: dict[str, Any]) -> None:
    print()
    for name, value in summary.items():
        bar = f"   bar {BARS[name]:g}" if name in BARS else ""
        print(f"{name:32} {value:8.3f}{bar}" if isinstance(value, float) else f"{name:32} {value!s:>8}{bar}")


if __name__ == "__main__":
    sys.exit(main())
