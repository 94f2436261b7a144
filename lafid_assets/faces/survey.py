"""The dense tier: every sampled frame through all models of the face engine.

Belongs here: one clip -> rows of `face_frames`, `face_info`, `picture_hashes` and `shot_boundaries`. Not here: the few looks
before it (`scan`), where shots end (`shots`), processes and deadlines (`workers`), thresholds on the scores (`constraints`,
`identity`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lafid_assets.faces.picture_hashes import PictureHashes
from lafid_assets.faces.rows import FramePlace, face_row, frame_row, sharpness
from lafid_assets.faces.sampling import SampledFrame, decode_samples, plan_samples, spread
from lafid_assets.faces.settings import AnalysisSettings, family
from lafid_assets.faces.tracks import TrackRules, track_faces
from lafid_assets.ingest.packets import LEAST_KEPT_SHARE, FrameIndex, promised_s, read_index
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.pictures.grey import grey
from lafid_assets.pictures.motion import Motion
from lafid_assets.pictures.sharp_edges import sharp_edge_share
from lafid_assets.shots.pieces import split_at_cuts
from lafid_assets.shots.search import ShotSearch
from model.encoding.footage import Footage, Piece, file_of
from model.encoding.shown import ShownFrame
from model.face_engine.interface import Face, FaceEngine

TIER = "survey"
CHUNK_BYTES = 64 * 2**20
"""Decoded frames that wait for the engine: enough for a GPU's batch, little beside the models' own memory."""
BLUR_LOOKS = 4
"""Frames of a clip whose sharp edges are counted."""


@dataclass(frozen=True)
class TierRows:
    """What a tier saw: rows without the engine's columns, and the fault that ended it early.

    Attributes:
        pieces: the shots of a file with cuts, as `split_at_cuts` gives them.
    """

    frames_asked: int | None
    frames: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    boundaries: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    motion: float | None = None
    hashes: list[dict[str, Any]] = field(default_factory=list)
    fault: ClipError | None = None


def survey_clip(
    clip_id: str,
    shard: str,
    footage: Footage,
    settings: AnalysisSettings,
    engine: FaceEngine,
    chunk_bytes: int = CHUNK_BYTES,
    boundaries: list[dict[str, Any]] | None = None,
) -> TierRows:
    """One linear decode for all models. A clip that stops decoding keeps what it gave.

    Args:
        chunk_bytes: frames go through the engine in chunks of so many bytes; the rows do not depend on it beyond rounding.
        boundaries: its rows of `shot_boundaries` where it was searched for them; None: they are found on the way.
    """
    try:
        index, promised = read_index(footage), None if isinstance(footage, Piece) else promised_s(file_of(footage))
    except ClipError as error:
        return TierRows(None, fault=error)
    planned = plan_samples(index, settings.rate_hz, settings.max_frames)
    rows = TierRows(len(planned))
    seen: list[list[Face]] = []
    fault: ClipError | None = None
    motion = Motion.of(index)
    search = ShotSearch(index) if boundaries is None else None
    hashes, for_blur = PictureHashes(clip_id, shard, index, planned), spread(planned, BLUR_LOOKS)

    def watch(shown: ShownFrame) -> None:
        motion(shown)
        hashes(shown)
        if search is not None:
            search(shown)

    try:
        for chunk in _chunks(decode_samples(footage, planned, watch), chunk_bytes):
            found = engine.detect_many([sample.image_rgb for sample in chunk])
            for sample, faces in zip(chunk, found, strict=True):
                height, width = sample.image_rgb.shape[:2]
                place = FramePlace(
                    clip_id, shard, TIER, sample.frame_index, sample.pts, sample.time_base, sample.time_s, width, height
                )
                blur = sharp_edge_share(grey(sample.image_rgb)) if sample.pts in for_blur else None
                rows.frames.append(frame_row(place, sample.image_rgb, len(faces)) | {"blur": blur})
                rows.faces.extend(
                    face_row(place, index, face, sharpness(sample.image_rgb, face.box_xyxy_px))
                    for index, face in enumerate(faces)
                )
            seen += found
    except ClipError as error:
        fault = error
    rules = TrackRules(
        settings.track_min_overlap,
        settings.track_min_cosine.get(family(engine.info.name)),
        settings.track_rejoin_cosine.get(family(engine.info.name)),
    )
    ids = [track for frame in track_faces(seen, rules) for track in frame]
    tracked = [row | {"track_id": track} for row, track in zip(rows.faces, ids, strict=True)]
    fault = cut_short(index, promised) or fault or _undecodable(len(rows.frames), len(planned))
    if boundaries is None:
        boundaries = search.rows(clip_id, shard) if search else []
    pieces = [] if isinstance(footage, Piece) else split_at_cuts(index, boundaries, settings.cut_scores)
    return TierRows(len(planned), rows.frames, tracked, boundaries, pieces, motion.mean(), hashes.rows, fault)


def cut_short(index: FrameIndex, promised: float | None) -> ClipError | None:
    """The fault of a file whose pictures end long before what its header promises, `packets.promised_s`."""
    if promised is None or index.duration_s >= LEAST_KEPT_SHARE * promised:
        return None
    told = f"its pictures end after {index.duration_s:.2f} s of {promised:.2f} s that the header promises: the file is cut short"
    return ClipError(Reason.DECODE_FAILED, told)


def _undecodable(decoded: int, asked: int) -> ClipError | None:
    if decoded >= LEAST_KEPT_SHARE * asked:
        return None
    return ClipError(Reason.DECODE_FAILED, f"{decoded} of {asked} frames could be decoded: the rest is damaged")


def _chunks(samples: Iterable[SampledFrame], chunk_bytes: int) -> Iterator[list[SampledFrame]]:
    """Frames in turn, in lists that hold at most `chunk_bytes` of pixels (or one frame). What was decoded before a fault
    is handed out before the fault is raised."""
    chunk: list[SampledFrame] = []
    fault: ClipError | None = None
    iterator = iter(samples)
    while fault is None:
        try:
            sample = next(iterator, None)
        except ClipError as error:
            fault, sample = error, None
        full = sample is None or sum(s.image_rgb.nbytes for s in (*chunk, sample)) > chunk_bytes
        if chunk and full:
            yield chunk
            chunk = []
        if sample is None:
            break
        chunk.append(sample)
    if fault is not None:
        raise fault
