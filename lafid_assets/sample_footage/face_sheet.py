"""A person's frontal picture, ready to be turned: cut out, scaled, reproportioned, toned, with its surface.

Belongs here: everything that is done once a person. Not here: what is done once a frame (`head_warp`, `render`), the mouth
(`mouth`), who the persons are (`persons`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lafid_assets.sample_footage.persons import Person, Proportions, Tone
from lafid_assets.sample_footage.portraits import Portrait
from lafid_assets.sample_footage.relief import CHIN, JAW, LEFT_EYE, RIGHT_EYE, Array, HeadFrame, depth_map, smoothstep
from lafid_assets.sample_footage.resample import dense_map, grid_px, resample
from model.face_engine.dlib_weights import find_dlib_weights

RgbaImage = NDArray[np.uint8]
"""(height, width, 4): red, green, blue premultiplied by alpha, and alpha."""

FACE_WIDTH_PX = 168.0
"""From ear to ear in every sheet: at scale 1 a face fills a good third of a frame 480 px high."""

LEFT_BROW, RIGHT_BROW, NOSE, MOUTH = slice(17, 22), slice(22, 27), slice(27, 36), slice(48, 68)

_WARP_STEP_PX = 6
_SKIN_CHROMA_TOLERANCE = 14.0


@dataclass(frozen=True, eq=False)
class FaceSheet:
    """A person's picture with its geometry.

    Attributes:
        texture: premultiplied RGBA of the person from the front.
        frame: where the head stands in it.
        depth: surface of the head (`relief.depth_map`).
    """

    texture: RgbaImage
    frame: HeadFrame
    depth: Array


def fit_landmarks(portrait: Portrait) -> NDArray[np.float64]:
    """(68, 2) landmarks of the sitter in pixels of the portrait.

    By dlib's predictor itself, in the portrait's own face box: the footage does not change when the face engine is tuned.
    """
    import dlib

    predict = dlib.shape_predictor(str(find_dlib_weights().landmarks_68))
    shape = predict(portrait.load(), dlib.rectangle(*portrait.face_box))
    return np.array([(point.x, point.y) for point in shape.parts()], np.float64)


def make_face_sheet(person: Person, landmarks_px: NDArray[np.float64]) -> FaceSheet:
    """The sheet of `person`, from the (68, 2) landmarks of the portrait's sitter."""
    rgb, alpha, sitter = _cut_out(person.portrait, landmarks_px)
    landmarks = reproportioned(sitter.landmarks, person.proportions)
    rgb, alpha = _stretch(rgb, alpha, sitter, landmarks)
    frame = HeadFrame(sitter.origin_px, sitter.half_width_px, landmarks)
    rgb = _toned(rgb, frame, person.tone)
    premultiplied = rgb.astype(np.uint16) * alpha[..., None] // 255
    texture = np.dstack((premultiplied.astype(np.uint8), alpha))
    return FaceSheet(texture, frame, depth_map(landmarks, person.portrait.hair_half_width))


def reproportioned(landmarks: NDArray[np.float64], proportions: Proportions) -> NDArray[np.float64]:
    """(68, 2) landmarks in head units after the change of proportions."""
    p = proportions
    moved = landmarks.copy()
    for eye, brow, side in ((LEFT_EYE, LEFT_BROW, -1.0), (RIGHT_EYE, RIGHT_BROW, 1.0)):
        shift = np.array((side * p.eye_spacing, p.eye_height))
        centre = landmarks[eye].mean(axis=0)
        cos, sin = np.cos(side * p.eye_tilt), np.sin(side * p.eye_tilt)
        turned = (landmarks[eye] - centre) @ np.array(((cos, sin), (-sin, cos)))
        moved[eye] = centre + shift + (1 + p.eye_size) * turned
        moved[brow] = landmarks[brow] + shift + (0.0, p.brow_height)
        moved[brow, 1] += side * p.brow_tilt * (landmarks[brow, 0] - landmarks[brow, 0].mean())
    nose_top, nose_base = landmarks[27], landmarks[33]
    moved[NOSE, 0] = landmarks[30, 0] + (1 + p.nose_width) * (landmarks[NOSE, 0] - landmarks[30, 0])
    moved[NOSE, 1] = nose_top[1] + (1 + p.nose_length) * (landmarks[NOSE, 1] - nose_top[1])
    mouth = landmarks[MOUTH].mean(axis=0)
    moved[MOUTH, 0] = mouth[0] + (1 + p.mouth_width) * (landmarks[MOUTH, 0] - mouth[0])
    nose_push = 0.5 * p.nose_length * (nose_base[1] - nose_top[1])
    moved[MOUTH, 1] = mouth[1] + (1 + p.lips) * (landmarks[MOUTH, 1] - mouth[1]) + p.mouth_height + nose_push
    down_the_jaw = np.clip((landmarks[JAW, 1] - 0.1) / (landmarks[CHIN, 1] - 0.1), 0, 1)
    moved[JAW, 0] *= 1 + p.jaw_width * np.sin(np.pi * down_the_jaw**0.8) + p.chin_width * down_the_jaw**3
    moved[JAW, 1] += p.chin_length * down_the_jaw**1.5
    moved[:, 0] *= 1 + p.face_width
    return moved


def _cut_out(portrait: Portrait, landmarks_px: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], HeadFrame]:
    """Picture and sitter's alpha at `FACE_WIDTH_PX`, and the head's frame at that scale."""
    import cv2

    picture = portrait.load()
    scale = FACE_WIDTH_PX / float(np.linalg.norm(landmarks_px[16] - landmarks_px[0]))
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    mask = cv2.fillPoly(np.zeros(picture.shape[:2], np.uint8), [np.array(portrait.outline, np.int32)], 255)
    inner = cv2.erode(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.ones((3, 3), np.uint8))
    alpha = np.asarray(cv2.GaussianBlur(inner, (0, 0), 1.3), np.uint8)
    rgb = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return rgb, alpha, HeadFrame.of((landmarks_px + 0.5) * scale - 0.5)


def _stretch(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], sitter: HeadFrame, landmarks: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture and alpha with the sitter's landmarks moved to `landmarks` by a thin-plate spline; the far surroundings stay."""
    from scipy.interpolate import RBFInterpolator

    if np.array_equal(landmarks, sitter.landmarks):
        return rgb, alpha
    grid = np.stack(np.meshgrid(np.linspace(-2.6, 2.6, 7), np.linspace(-2.4, 3.0, 7)), axis=-1).reshape(-1, 2)
    anchors = grid[(np.abs(grid[:, 0]) > 1.8) | (grid[:, 1] < -1.6) | (grid[:, 1] > 2.0)]
    moved_to = np.concatenate((landmarks, anchors))
    moved_from = np.concatenate((sitter.landmarks, anchors))
    spline = RBFInterpolator(moved_to, moved_from - moved_to, kernel="thin_plate_spline", smoothing=1e-3)

    size = alpha.shape[1], alpha.shape[0]
    points = sitter.from_px(grid_px(size, _WARP_STEP_PX))
    source = sitter.to_px(points + spline(points.reshape(-1, 2)).reshape(points.shape))
    source_px = dense_map(source, size, _WARP_STEP_PX)
    return resample(rgb, source_px, cubic=True), resample(alpha, source_px, cubic=True)


def _toned(rgb: NDArray[np.uint8], frame: HeadFrame, tone: Tone) -> NDArray[np.uint8]:
    import cv2

    if tone == Tone():
        return rgb
    if tone.skin_smoothing:
        for _ in range(3):
            rgb = np.asarray(cv2.bilateralFilter(rgb, 9, tone.skin_smoothing, 7), np.uint8)
    lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    skin, hair, clothes = _regions(lab, frame)
    lightness = lab[..., 0] / 100
    toned = skin * lightness ** (1 + tone.skin_depth) + hair * lightness ** (1 + tone.hair_depth) + clothes * lightness
    lab[..., 0] = 100 * toned * (1 - tone.brow_depth * _brows(frame, lightness.shape))
    hue = np.deg2rad(tone.clothes_hue_deg) * clothes
    a, b = lab[..., 1].copy(), lab[..., 2] + tone.skin_warmth * skin * lightness
    lab[..., 1], lab[..., 2] = a * np.cos(hue) - b * np.sin(hue), a * np.sin(hue) + b * np.cos(hue)
    return np.rint(255 * np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)).astype(np.uint8)


def _regions(lab: Array, frame: HeadFrame) -> tuple[Array, Array, Array]:
    """Soft masks of skin, hair (or hat) and clothes, (height, width) each; they add up to 1."""
    import cv2

    height, width = lab.shape[:2]
    brow_line = frame.landmarks[[17, 19, 24, 26]] - (0.0, 0.25)
    outline = frame.to_px(np.concatenate((frame.landmarks[JAW], brow_line))).astype(np.float32)
    face = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(face, cv2.convexHull(outline).astype(np.int32), 1.0)
    chroma = lab[..., 1:] - np.median(lab[face > 0][:, 1:], axis=0)
    skin_coloured = smoothstep(2 - np.hypot(chroma[..., 0], chroma[..., 1]) / _SKIN_CHROMA_TOLERANCE)
    face = np.asarray(cv2.GaussianBlur(face, (0, 0), 0.06 * frame.half_width_px), np.float32)

    u, v = (frame.from_px(np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1))[..., i] for i in (0, 1))
    below_chin = smoothstep((v - frame.landmarks[CHIN, 1]) / 0.35)
    head = (np.abs(u) < 1.3) & (v < frame.landmarks[CHIN, 1] + 0.8) & (v > -0.9)
    skin = np.maximum(face, head * skin_coloured * smoothstep(lab[..., 0] / 30 - 1))
    return (
        skin.astype(np.float32),
        ((1 - below_chin) * (1 - skin)).astype(np.float32),
        (below_chin * (1 - skin)).astype(np.float32),
    )


def _brows(frame: HeadFrame, shape: tuple[int, ...]) -> Array:
    import cv2

    mask = np.zeros(shape, np.float32)
    for brow in (LEFT_BROW, RIGHT_BROW):
        line = frame.to_px(frame.landmarks[brow]).astype(np.int32)
        cv2.polylines(mask, [line], False, 1.0, max(1, int(0.09 * frame.half_width_px)))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.025 * frame.half_width_px), np.float32)
