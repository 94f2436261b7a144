"""The same face through a clip: overlap of boxes plus likeness of embeddings.

Belongs here: faces frame by frame -> a track id each. Not here: which track is the main one (`constraints`), comparing clips
(`identity`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.face_engine.interface import Box, Face


@dataclass(frozen=True)
class TrackRules:
    """When two faces are one track. The cosines belong to an engine; None where it has no figures: overlap alone decides."""

    min_overlap: float
    min_cosine: float | None
    rejoin_cosine: float | None


def track_faces(frames: Sequence[Sequence[Face]], rules: TrackRules) -> list[list[int]]:
    """An id for every face of every frame, from 0 in order of appearance.

    A face joins the track whose last box it overlaps unless the embeddings speak against it (a cut between two shots puts
    another person in the same place), or the one that it resembles closely (a face that was hidden or moved far). The best sum of
    overlap and cosine is taken first; a track has at most one face a frame.
    """
    last: list[Face] = []
    ids: list[list[int]] = []
    for faces in frames:
        links = sorted(
            (-likeness, track, place)
            for place, face in enumerate(faces)
            for track, known in enumerate(last)
            if (likeness := _likeness(known, face, rules)) is not None
        )
        chosen: dict[int, int] = {}
        for _, track, place in links:
            if place not in chosen and track not in chosen.values():
                chosen[place] = track
        for place, face in enumerate(faces):
            if place in chosen:
                last[chosen[place]] = face
            else:
                chosen[place] = len(last)
                last.append(face)
        ids.append([chosen[place] for place in range(len(faces))])
    return ids


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def _likeness(known: Face, face: Face, rules: TrackRules) -> float | None:
    """Overlap plus cosine of two faces that may be one; None where they may not."""
    shared = overlap(known.box_xyxy_px, face.box_xyxy_px)
    cosine: float | None = None
    if known.embedding is not None and face.embedding is not None:
        cosine = float(np.dot(known.embedding, face.embedding))
    if shared >= rules.min_overlap:
        linked = cosine is None or rules.min_cosine is None or cosine >= rules.min_cosine
    else:
        linked = cosine is not None and rules.rejoin_cosine is not None and cosine >= rules.rejoin_cosine
    return shared + (cosine or 0.0) if linked else None
