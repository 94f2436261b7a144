"""FID: how far drawn faces lie from real ones as distributions; and what ConsisID calls FID.

Belongs here: the two distances over Inception-v3's features of aligned faces. Not here: the network (`inception`).

**fid** is the Frechet distance between the normal distributions of all drawn and all real faces (Heusel et al. 2017). Below 2048
faces the covariances of 2048 numbers are not of full rank and the distance says more of the sample than of the model: it is
absent then. By torchvision's weights, so not comparable with figures by TensorFlow's.

**consisid_fid** is ConsisID's: of every frame's face the distance to the one reference face. Their code duplicates the features
of both, so that the covariances are zero and the squared distance of two vectors remains; then the mean over frames. Values of
150 to 215 are published. A video without a face is worth 0 to their code, which is its best; here it is absent.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.evaluation.measures.facesim import CONSISID_FRAMES, aligned_of, reference_of
from model.evaluation.measures.inception import WIDTH
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.published_faces import AlignedFace, aligned_face
from model.evaluation.measures.record import Absent, DrawnVideo
from model.face_engine.interface import Image

ENOUGH_FACES: Final = 2048

Features = NDArray[np.float16]
"""(n, 2048); half precision is exact to a thousandth, and a video's are 64 KiB."""


def frechet_distance(ours: ArrayLike, theirs: ArrayLike) -> float:
    """|m1 - m2|^2 + trace(C1 + C2 - 2 sqrt(C1 C2)) of two samples (n, D), with covariances over n - 1."""
    (mean_a, cov_a), (mean_b, cov_b) = (_moments(np.asarray(sample, np.float64)) for sample in (ours, theirs))
    # sqrt(C1 C2) has the trace of the symmetric sqrt(C1^1/2 C2 C1^1/2), whose eigenvalues are real.
    root_a = _symmetric_root(cov_a)
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(root_a @ cov_b @ root_a), 0, None))
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


def fid(drawn: Sequence[Features], real: Features, enough: int = ENOUGH_FACES) -> float:
    """Over the faces of all videos.

    Args:
        drawn: of each video, as `face_features` gives them.
        real: of real pictures, as `picture_features` gives them.
    """
    ours = np.concatenate(drawn) if drawn else real[:0]
    for name, count in (("drawn", len(ours)), ("real", len(real))):
        if count < enough:
            raise Absent(f"FID takes {enough} drawn and as many real faces; there are {count} {name} ones")
    return frechet_distance(ours, real)


def consisid_fid(video: DrawnVideo) -> float:
    """ConsisID's FID: squared distance of each frame's face to the reference face in Inception-v3, mean over 16 frames."""
    network, reference, drawn = video.networks.inception, reference_of(video), aligned_of(video, CONSISID_FRAMES)
    if not drawn:
        raise Absent(f"none of {CONSISID_FRAMES} frames shows a face")
    features = network.unshifted(np.stack([reference.crop, *(face.crop for face in drawn)])).astype(np.float64)
    return float(((features[1:] - features[0]) ** 2).sum(axis=1).mean())


def face_features(video: DrawnVideo) -> Features:
    """Features of the faces in 16 evenly spaced frames of a video, a given first one left out; (0, 2048) without a face."""
    return _features(aligned_of(video, CONSISID_FRAMES, without_given=True), video.networks)


def picture_features(pictures: Sequence[Image], networks: Networks) -> Features:
    """Features of the main faces of real pictures; those that show none are left out."""
    return _features([aligned_face(picture, networks.faces) for picture in pictures], networks)


def _features(faces: Sequence[AlignedFace | None], networks: Networks) -> Features:
    network, crops = networks.inception, [face.crop for face in faces if face is not None]
    return np.asarray(network(np.stack(crops)) if crops else np.empty((0, WIDTH)), np.float16)


def _moments(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return sample.mean(axis=0), np.atleast_2d(np.cov(sample, rowvar=False))


def _symmetric_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
