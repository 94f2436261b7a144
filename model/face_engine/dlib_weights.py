"""Where dlib's weights lie and what may be done with them.

Belongs here: finding the files that the `face-recognition-models` package carries. Not here: running them
(`dlib_engine`).
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class DlibWeights:
    """Files of the package `face-recognition-models` 0.3 (trained by Davis King).

    `licence` is the strictest of them: the 68-point model was trained on 300-W, whose terms exclude commercial use.
    """

    landmarks_68: Path
    embedding_128: Path
    licence: str = "non-commercial-research"


def find_dlib_weights() -> DlibWeights:
    """Locate the weights without importing their package (its import needs pkg_resources, which setuptools dropped).

    Raises:
        FileNotFoundError: the package or one of its files is not installed.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("dlib's weights are missing: install the package face-recognition-models")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    weights = DlibWeights(
        landmarks_68=folder / "shape_predictor_68_face_landmarks.dat",
        embedding_128=folder / "dlib_face_recognition_resnet_model_v1.dat",
    )
    for path in (weights.landmarks_68, weights.embedding_128):
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is missing from {folder}: reinstall face-recognition-models")
    return weights
