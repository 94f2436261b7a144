"""6DRepNet to ONNX: once, in a child process, and checked against torch before it is kept.

    python -m model.face_engine.head_pose.sixdrepnet_export WEIGHTS.pth OUT.onnx

Belongs here: the export. Not here: running the result (`sixdrepnet`).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.face_engine.head_pose.sixdrepnet import SIDE_PX, network_input
from model.face_engine.head_pose.sixdrepnet_network import load_network
from model.face_engine.onnx_session import PROVIDER_VARIABLE, open_session
from model.files import whole_file

MAX_DIFFERENCE = 1e-4
"""Largest difference of any element of the rotation matrix between torch and ONNX."""
_OPSET = 17
_BATCH = 3
_SEED = 0


class ExportFailed(RuntimeError):
    """The network could not be exported, or its export computes something else; the message says what."""


def export_in_child(weights: Path, target: Path) -> Path:
    """Export in a process of its own: torch, and `sixdrepnet`'s names, never reach this one.

    Raises:
        ExportFailed: with the child's last line.
    """
    command = [sys.executable, "-m", __name__, str(weights), str(target)]
    root = Path(__file__).resolve().parents[3]
    exact = {name: value for name, value in os.environ.items() if name != PROVIDER_VARIABLE}  # the check is of float32
    ended = subprocess.run(command, cwd=root, env=exact, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or [f"the child ended with {ended.returncode}"]
        raise ExportFailed(f"6DRepNet was not exported: {lines[-1]}")
    return target


def export(weights: Path, target: Path) -> float:
    """Write the ONNX file; its largest difference from torch on random and real crops.

    Raises:
        ExportFailed: it differs by more than `MAX_DIFFERENCE`; nothing is written then.
    """
    network = load_network(weights)
    with whole_file(target) as path:
        torch.onnx.export(
            network,
            (torch.zeros(_BATCH, 3, SIDE_PX, SIDE_PX),),
            str(path),
            input_names=["crops"],
            output_names=["rotations"],
            dynamic_axes={"crops": {0: "faces"}, "rotations": {0: "faces"}},
            opset_version=_OPSET,
            dynamo=False,
        )
        difference = largest_difference(network, path, example_crops())
        if not difference <= MAX_DIFFERENCE:
            raise ExportFailed(f"the exported network differs from torch by {difference:.2g}, more than {MAX_DIFFERENCE:g}")
    return difference


def largest_difference(network: torch.nn.Module, exported: Path, crops: NDArray[np.float32]) -> float:
    """Largest absolute difference of any matrix element over (N, 3, 224, 224) crops, one by one and as one batch."""
    session = open_session(exported)
    with torch.no_grad():
        by_torch = network(torch.from_numpy(crops)).numpy()
    as_batch = session.run(None, {"crops": crops})[0]
    one_by_one = np.concatenate([session.run(None, {"crops": crop[None]})[0] for crop in crops])
    return float(max(np.abs(as_batch - by_torch).max(), np.abs(one_by_one - by_torch).max()))


def example_crops() -> NDArray[np.float32]:
    """(4, 3, 224, 224): two of noise, two of a portrait in the public domain that scikit-image carries."""
    from skimage.data import astronaut

    noise = np.random.default_rng(_SEED).normal(size=(2, 3, SIDE_PX, SIDE_PX)).astype(np.float32)
    portrait = astronaut()
    head = [network_input(portrait[20:220, 130:310]), network_input(portrait[0:280, 90:350])]
    return np.concatenate([noise, np.stack(head)])


if __name__ == "__main__":
    try:
        print(export(Path(sys.argv[1]), Path(sys.argv[2])))
    except (ExportFailed, ValueError, OSError) as error:
        sys.exit(" ".join(str(error).split()))
