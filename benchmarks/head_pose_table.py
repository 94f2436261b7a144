"""The insightface engine with FSA-Net against a published table: `python -m benchmarks.head_pose_table [--json]`.

The table is that of ../shared/testdata/SOURCES.md, the protocol that of the verify.py beside it, which made it: 40 evenly spaced
frames a clip, the largest face of each, square crops of 1.2 times the box, the mean of both networks. Judged are the smallest and
the largest yaw, pitch and roll of every clip in which the table never sees two faces at once. Exit code 1: the bar is missed, 2:
../shared is not there.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from model.face_engine.interface import FaceEngine
from model.face_engine.rotations import Angles
from model.model_store.install import install
from model.model_store.registry import Licence
from model.model_store.store import ModelStore

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"
WEIGHTS = {
    "scrfd_2.5g": ("scrfd_2.5g_bnkps.onnx",),
    "arcface_mobilefacenet_foamliu": ("arcface_mobilefacenet_foamliu.onnx",),
    "fsanet": ("fsanet-1x1-iter-688590.onnx", "fsanet-var-iter-688590.onnx"),
}
TOLERANCE_DEG, MIN_SHARE = 8.0, 0.9
ANGLES = tuple(name.removesuffix("_deg") for name in Angles._fields)

Ranges = dict[str, tuple[float, float]]
"""Angle to its smallest and largest value in degrees."""


@dataclass(frozen=True)
class Expected:
    """One line of the table: most faces in a frame, and the ranges of the angles; None where it has no face."""

    most_faces: int
    ranges: Ranges | None


def read_table(sources: Path) -> dict[str, Expected]:
    """Clip to its line.

    Raises:
        FileNotFoundError: the test data is not there.
    """
    if not sources.is_file():
        raise FileNotFoundError("the table and the clips are missing: this benchmark needs ../shared/testdata beside the project")
    table = {}
    for line in sources.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 14 and re.fullmatch(r"\d+/\d+/\d+", cells[4]):
            ranges = None if cells[6] == "-" else {name: _range(cell) for name, cell in zip(ANGLES, cells[6:9], strict=True)}
            table[cells[0]] = Expected(int(cells[4].split("/")[2]), ranges)
    return table


def _range(cell: str) -> tuple[float, float]:
    low, high = cell.split("/")
    return float(low), float(high)


def build_engine(weights: Path, store: ModelStore) -> FaceEngine:
    """SCRFD 2.5g, MobileFaceNet and FSA-Net, added to a store as a user would."""
    from model.face_engine.insightface_engine import InsightfaceEngine
    from model.face_engine.selection import choose_parts

    store.accept(Licence.RESEARCH)
    for name, files in WEIGHTS.items():
        install(store, name, [weights / file for file in files])
    return InsightfaceEngine(choose_parts(store, mouth="none"))


def measure(path: Path, engine: FaceEngine, frames: int) -> Ranges | None:
    """Ranges of the largest face's angles; None where there is no face in any of the frames."""
    seen = []
    for image in _spaced_frames(path, frames):
        if faces := engine.detect(image, embed=False):
            assert faces[0].angles is not None
            seen.append(faces[0].angles)
    if not seen:
        return None
    angles = np.array(seen)
    return {name: (float(angles[:, k].min()), float(angles[:, k].max())) for k, name in enumerate(ANGLES)}


def _spaced_frames(path: Path, frames: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
    wanted = set(np.linspace(0, count - 1, min(frames, count)).round().astype(int).tolist())
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def largest_difference(found: Ranges | None, expected: Ranges) -> float:
    """Degrees, over both ends of the three ranges; infinite where no face was found."""
    if found is None:
        return float("inf")
    return max(abs(a - b) for name in ANGLES for a, b in zip(found[name], expected[name], strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40, help="evenly spaced frames a clip")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    try:
        table = read_table(TESTDATA / "SOURCES.md")
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = build_engine(TESTDATA / "weights", ModelStore(Path(folder)))
        print(engine.info.version, flush=True)
        for path in sorted((TESTDATA / "clips").iterdir()):
            expected = table[path.name]
            found = measure(path, engine, arguments.frames)
            judged = expected.most_faces == 1 and expected.ranges is not None
            if judged:
                assert expected.ranges is not None
                differences[path.name] = largest_difference(found, expected.ranges)
            _print_line(path.name, found, expected, differences.get(path.name))
    within = sum(difference <= TOLERANCE_DEG for difference in differences.values())
    share = within / len(differences)
    print(
        f"{within} of {len(differences)} single-person clips within {TOLERANCE_DEG:g} degrees: {share:.1%} (bar {MIN_SHARE:.0%})"
    )
    if arguments.json:
        print(json.dumps({"clips": len(differences), "within": within, "share": share, "largest_difference_deg": differences}))
    return 0 if share >= MIN_SHARE else 1


def _print_line(name: str, found: Ranges | None, expected: Expected, difference: float | None) -> None:
    told = "  ".join(f"{angle} {_text(found, angle)} ({_text(expected.ranges, angle)})" for angle in ANGLES)
    verdict = "not judged" if difference is None else f"{difference:5.1f}"
    print(f"{name:52} {told}  {verdict}", flush=True)


def _text(ranges: Ranges | None, angle: str) -> str:
    return "-" if ranges is None else "{:4.0f}/{:<4.0f}".format(*ranges[angle])


if __name__ == "__main__":
    sys.exit(main())
