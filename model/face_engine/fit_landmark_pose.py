"""Fit the networks of `landmark_pose` and write them: `python -m model.face_engine.fit_landmark_pose`.

Belongs here: reading the mean shape, training, writing weights with their provenance. Not here: the synthetic faces
(`synthetic_landmarks`), the networks' use (`landmark_pose`). Takes seconds on a CPU, needs insightface for its mean
shape, and gives the same bytes for the same settings on the same machine and versions.
"""

import argparse
import hashlib
import io
import json
import os
import pickle
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save

from model.face_engine.landmark_pose import (
    ALL_POINTS,
    INNER_POINTS,
    RIGID_POINTS,
    WEIGHTS,
    LandmarkPose,
    aligned_features,
    regression_targets,
)
from model.face_engine.rotations import stacked_angles
from model.face_engine.synthetic_landmarks import sample_landmarks, symmetric_mean_shape
from model.strict import StrictModel

Array = NDArray[np.float64]
Layers = tuple[tuple[Array, Array], ...]


class FitSettings(StrictModel):
    """How the networks are fitted; stored with the weights."""

    seed: int = Field(default=0, ge=0, description="Seeds the synthetic faces, the initial weights and the batches.")
    faces: int = Field(default=80_000, ge=1, description="Synthetic faces.")
    steps: int = Field(default=1_500, ge=2, description="Optimizer steps a network.")
    batch: int = Field(default=512, ge=1, description="Faces a step.")
    hidden: int = Field(default=64, ge=1, description="Width of the two hidden layers.")
    learning_rate: float = Field(default=4e-3, gt=0, description="Peak of the one-cycle schedule.")


class MeanShapeUnpickler(pickle.Unpickler):
    """Reads a pickled numpy array and nothing else: a pickle that names any other callable is refused."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"the mean shape's file asks for {module}.{name}: only numpy arrays are read")
        return self.ALLOWED[module, name]


def mean_shape_path() -> Path:
    """insightface's 68-point mean shape, found without importing insightface.

    Raises:
        FileNotFoundError: insightface is not installed.
    """
    spec = find_spec("insightface")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the mean shape is missing: install insightface (the extra 'data')")
    return Path(next(iter(spec.submodule_search_locations))) / "data/objects/meanshape_68.pkl"


def read_mean_shape(content: bytes) -> Array:
    """(68, 3) mean shape in the axes of `rotations`, symmetric and centred, from the pickle (x right, y down, z near).

    Raises:
        pickle.UnpicklingError: the pickle holds anything but numpy arrays.
    """
    shape = np.asarray(MeanShapeUnpickler(io.BytesIO(content)).load(), np.float64)
    return symmetric_mean_shape(shape * (1.0, -1.0, 1.0), RIGID_POINTS)


def fit(mean_shape: Array, settings: FitSettings) -> LandmarkPose:
    """Both networks, fitted on the same synthetic faces; weights already rounded as they are stored (float16)."""
    torch.set_num_threads(1)  # sums in parallel would differ in their last digits from run to run
    landmarks, rotations = sample_landmarks(mean_shape, settings.faces, np.random.default_rng(settings.seed))
    nets = [_fit_network(landmarks, rotations, mean_shape, subset, settings) for subset in (ALL_POINTS, INNER_POINTS)]
    return LandmarkPose(mean_shape, *nets)


def _fit_network(landmarks: Array, rotations: Array, mean_shape: Array, subset: slice, settings: FitSettings) -> Layers:
    features, in_plane_rad = aligned_features(landmarks[:, subset], mean_shape[subset, :2])
    inputs = torch.from_numpy(features).float()
    targets = torch.from_numpy(regression_targets(rotations, in_plane_rad)).float()
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        sizes = (inputs.shape[1], settings.hidden, settings.hidden, 3)
        linears = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = torch.nn.Sequential(linears[0], torch.nn.SiLU(), linears[1], torch.nn.SiLU(), linears[2])
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps)
    for _ in range(settings.steps):
        picked = torch.randint(len(inputs), (settings.batch,), generator=generator)
        loss = (network(inputs[picked]) - targets[picked]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return tuple((_rounded(linear.weight), _rounded(linear.bias)) for linear in linears)


def _rounded(parameter: torch.Tensor) -> Array:
    return parameter.detach().half().double().numpy()


def serialise(pose: LandmarkPose, provenance: dict[str, str]) -> bytes:
    """The safetensors file: float16 networks, float32 mean shape.

    The provenance is one JSON entry of the header: safetensors writes several entries in a random order.
    """
    tensors: dict[str, NDArray[Any]] = {"mean_shape": pose.mean_shape.astype(np.float32)}
    for name, layers in (("all_points", pose.all_points), ("inner_points", pose.inner_points)):
        for k, (weight, bias) in enumerate(layers):
            tensors[f"{name}.{k}.weight"] = weight.astype(np.float16)
            tensors[f"{name}.{k}.bias"] = bias.astype(np.float16)
    return save(tensors, metadata={"provenance": json.dumps(provenance)})


def provenance_of(mean_shape_pickle: bytes, settings: FitSettings) -> dict[str, str]:
    """Where the weights come from, for the file's header."""
    return {
        "made_by": "python -m model.face_engine.fit_landmark_pose",
        "data": "random projections of the mean shape alone (model/face_engine/synthetic_landmarks.py); no photographs",
        "mean_shape": f"insightface {version('insightface')}, data/objects/meanshape_68.pkl",
        "mean_shape_sha256": hashlib.sha256(mean_shape_pickle).hexdigest(),
        "mean_shape_licence": "MIT (part of the insightface library, not of its models)",
        "licence": "MIT",
        "settings": settings.model_dump_json(),
    }


def synthetic_errors_deg(pose: LandmarkPose, seed: int) -> dict[str, list[float]]:
    """Mean absolute errors (yaw, pitch, roll) in degrees on unseen synthetic faces, by range of true |yaw|."""
    landmarks, rotations = sample_landmarks(pose.mean_shape, 10_000, np.random.default_rng(seed))
    true = stacked_angles(rotations)
    error = np.abs(stacked_angles(pose.rotations(landmarks * (1.0, -1.0))) - true)
    by_range = {}
    for low in (0, 15, 30):
        in_range = (np.abs(true[:, 0]) >= low) & (np.abs(true[:, 0]) < low + 15)
        by_range[f"{low}-{low + 15}"] = [round(float(e), 2) for e in error[in_range].mean(axis=0)]
    return by_range


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the landmark head pose on projections of a mean shape.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to write (default: beside the code)")
    out: Path = parser.parse_args().out
    settings = FitSettings()
    content = mean_shape_path().read_bytes()
    pose = fit(read_mean_shape(content), settings)
    partial = out.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(serialise(pose, provenance_of(content, settings)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, out)
    errors = synthetic_errors_deg(pose, settings.seed + 1)
    print(json.dumps({"out": str(out), "synthetic_errors_deg": errors}, indent=2))


if __name__ == "__main__":
    main()
