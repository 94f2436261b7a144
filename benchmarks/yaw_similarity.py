"""How alike one person's ArcFace embeddings are over yaw: `python -m benchmarks.yaw_similarity [--json]`.

The constants of `benchmarks.head_identity` come from here. Clips of ../shared/testdata that show one person each, about three
frames a second, all pairs of frames that are not neighbours: the mean cosine in each range of yaw between the two, then the
mean over clips that have at least four such pairs. Needs ../shared, and a minute or two.
"""

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from model.face_engine.insightface_engine import InsightfaceEngine
from model.face_engine.selection import choose_parts
from model.model_store.install import install
from model.model_store.registry import Licence
from model.model_store.store import ModelStore

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"
CLIPS = (
    "intel_gaze_demo.mp4",
    "intel_head-pose-face-detection-female.gif",
    "latentsync_demo1.mp4",
    "latentsync_demo2.mp4",
    "liveportrait_d12.mp4",
    "liveportrait_d14.mp4",
    "liveportrait_d9.mp4",
    "liveportrait_src_s32.mp4",
)
MODELS = {
    "scrfd_2.5g": ("scrfd_2.5g_bnkps.onnx",),
    "arcface_mobilefacenet_foamliu": ("arcface_mobilefacenet_foamliu.onnx",),
    "fsanet": ("fsanet-var-iter-688590.onnx", "fsanet-1x1-iter-688590.onnx"),
}
EDGES_DEG = (0, 10, 20, 30, 40, 50, 60, 80)
_RATE_HZ, _MOST_FRAMES, _LEAST_PAIRS, _LEAST_FRAMES_APART = 3.0, 60, 4, 5


def faces_of(engine: InsightfaceEngine, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Frame numbers (N,), yaws in degrees (N,) and embeddings (N, D) of the frames in which one face was found."""
    numbers, yaws, embeddings = [], [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        every = max(1, round(float(stream.average_rate or 10) / _RATE_HZ))
        for number, frame in enumerate(container.decode(stream)):
            if number % every or len(numbers) == _MOST_FRAMES:
                continue
            faces = engine.detect(frame.to_ndarray(format="rgb24"))
            if len(faces) == 1 and faces[0].angles is not None and faces[0].embedding is not None:
                numbers.append(number)
                yaws.append(faces[0].angles.yaw_deg)
                embeddings.append(faces[0].embedding)
    return np.array(numbers, float), np.array(yaws, float), np.stack(embeddings)


def by_gap(numbers: NDArray[np.float64], yaws: NDArray[np.float64], embeddings: NDArray[np.float32]) -> list[float]:
    """Mean cosine in each range of `EDGES_DEG`; NaN where there are too few pairs."""
    one, other = np.triu_indices(len(numbers), 1)
    apart = np.abs(numbers[one] - numbers[other]) > _LEAST_FRAMES_APART
    cosine = (embeddings[one] * embeddings[other]).sum(axis=1)[apart]
    gap = np.abs(yaws[one] - yaws[other])[apart]
    ranges = [cosine[(gap >= low) & (gap < high)] for low, high in pairwise(EDGES_DEG)]
    return [float(values.mean()) if len(values) >= _LEAST_PAIRS else float("nan") for values in ranges]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder) / "models")
        store.accept(Licence.RESEARCH)
        for name, files in MODELS.items():
            install(store, name, [TESTDATA / "weights" / file for file in files])
        detector, embedder, head_pose = MODELS
        engine = InsightfaceEngine(choose_parts(store, detector=detector, embedder=embedder, head_pose=head_pose, mouth="none"))
        rows = {}
        for clip in CLIPS:
            rows[clip] = by_gap(*faces_of(engine, TESTDATA / "clips" / clip))
            print(f"{clip:45}" + "".join(f"{value:8.3f}" for value in rows[clip]), flush=True)
    means = np.nanmean(list(rows.values()), axis=0)
    print(f"{'mean':45}" + "".join(f"{value:8.3f}" for value in means))
    if arguments.json:
        print(json.dumps({"edges_deg": EDGES_DEG, "similarity": means.tolist()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
