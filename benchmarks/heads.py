"""Drawn heads whose identity, pose and expression are known: the faces of `benchmarks.ablation`.

A head is a shaded ellipsoid that carries its features (hair, brows, eyes, mouth, nose, a mark on each temple) at fixed
longitudes and latitudes, so turning it moves and hides them as a real head's are moved and hidden. Identity is a vector of 18
numbers in [-1, 1]. Some of it cannot be seen in every picture: a mark shows from its own side alone, the colour of the teeth
in an open mouth alone, that of the eyes only while they are open. Expression belongs to a picture, not to a person; light,
background and shirt are nuisances that a photo and a video of one person do not share.

Belongs here: identity, pose, expression and nuisance -> pixels, and what of a person they show. Not here: who judges them
(`benchmarks.head_judge`).
"""

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 16
MAX_YAW_DEG = 75.0
FACE_TRAITS = (
    *("skin_lightness", "skin_warmth", "eye_red", "eye_green", "eye_blue", "eye_spacing"),
    *("mouth_red", "mouth_width", "head_width"),
)
"""What lies within the crop that an identity network is given: eyes to chin, of a face in no special expression."""
MARK_TRAITS = ("left_red", "left_green", "right_red", "right_green")
"""Colours of the marks: on the temple that is to the image's left on a frontal head, and on the other."""
TRAITS = (*FACE_TRAITS, "hair_red", "hair_green", "hair_blue", "hairline", *MARK_TRAITS, "teeth")
"""What tells two heads apart."""
EXPRESSION = ("mouth", "brows", "eyes")
"""In [-1, 1]: closed to wide open (shut up to 0), low to high, closed to open."""
NUISANCES = 7
"""Light from the left or right, brightness, background grey, shirt colour (3), vertical place."""
MARK_LONGITUDE_DEG = 64.0

_SHOWN_WITHIN_DEG, _HIDDEN_BEYOND_DEG = 50.0, 104.0
_SUPERSAMPLING = 3
_HEAD_RADIUS = 0.62  # of half the picture
_DRAWN_AT_ONCE = 256

Array = NDArray[np.float32]


def draw_identities(count: int, rng: np.random.Generator) -> Array:
    """(count, 18) independent identities."""
    return _uniform((count, len(TRAITS)), rng)


def draw_expressions(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """(*shape, 3) in [-1, 1]."""
    return _uniform((*shape, len(EXPRESSION)), rng)


def draw_nuisances(count: int, rng: np.random.Generator) -> Array:
    """(count, 7) in [-1, 1]."""
    return _uniform((count, NUISANCES), rng)


def marks_shown(yaw_deg: Array) -> NDArray[np.bool_]:
    """(*yaw.shape, 2) which of the two marks, left then right, a picture in this yaw shows plainly."""
    return _mark_angles(yaw_deg) < _SHOWN_WITHIN_DEG


def marks_hidden(yaw_deg: Array) -> NDArray[np.bool_]:
    """(*yaw.shape, 2) which of the two marks it does not show at all; a mark can be neither shown nor hidden."""
    return _mark_angles(yaw_deg) > _HIDDEN_BEYOND_DEG


def teeth_shown(expressions: Array) -> NDArray[np.bool_]:
    """(...) of expressions (..., 3)."""
    return expressions[..., 0] > 0.3


def teeth_hidden(expressions: Array) -> NDArray[np.bool_]:
    """(...) of expressions (..., 3)."""
    return expressions[..., 0] <= 0


def render(identities: Array, yaw_deg: Array, expressions: Array, nuisances: Array) -> NDArray[np.uint8]:
    """(N, 16, 16, 3) RGB of N heads: identity (N, 18), yaw (N,) (> 0 to the image's left), expression (N, 3), nuisance (N, 7)."""
    parts = range(0, len(identities), _DRAWN_AT_ONCE)
    cuts = [slice(start, start + _DRAWN_AT_ONCE) for start in parts]
    return np.concatenate([_render(identities[cut], yaw_deg[cut], expressions[cut], nuisances[cut]) for cut in cuts])


def _render(identities: Array, yaw_deg: Array, expressions: Array, nuisances: Array) -> NDArray[np.uint8]:
    side = SIDE_PX * _SUPERSAMPLING
    axis = ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    trait = {name: identities[:, i, None, None] for i, name in enumerate(TRAITS)}
    mouth_open, brow_height, eye_open = (expressions[:, i, None, None] for i in range(len(EXPRESSION)))
    light, brightness, grey, shirt_r, shirt_g, shirt_b, shift = (nuisances[:, i, None, None] for i in range(NUISANCES))

    # The visible surface in the camera's frame: u right, v up, w towards the camera, all on the unit sphere.
    u = x[None] / (_HEAD_RADIUS * (1 + 0.18 * trait["head_width"]))
    v = -(y[None] + 0.12 + 0.05 * shift) / (_HEAD_RADIUS * 1.2)
    inside = u**2 + v**2 < 1
    w = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    # Longitude on the head: 0 at the nose, positive to the image's left on a frontal head.
    longitude = np.rad2deg(np.arctan2(-u, w)) - yaw_deg[:, None, None]
    latitude = np.rad2deg(np.arcsin(np.clip(v, -1, 1)))

    colour = _colours(0.62 + 0.25 * trait["skin_lightness"], 0.12 + 0.08 * trait["skin_warmth"])
    colour = _paint(colour, _near(longitude, latitude, 0, -8, 7, 14) * 0.35, _scaled(colour, 0.75))  # the nose's shadow
    hair = np.stack([0.5 + 0.45 * trait[f"hair_{c}"] for c in ("red", "green", "blue")], -1)
    hairline = 36 + 12 * trait["hairline"]
    colour = _paint(colour, _step(latitude - hairline + 2.2 * np.maximum(np.abs(longitude) - 62, 0), 6), hair)
    eyes = np.stack([0.45 + 0.45 * trait[f"eye_{c}"] for c in ("red", "green", "blue")], -1)
    spacing = 25 + 7 * trait["eye_spacing"]
    lids = np.clip(0.6 + 0.5 * eye_open, 0.05, 1.1)
    for which in (-1, 1):
        colour = _paint(colour, _near(longitude, latitude, which * spacing, 6, 13, 10 * lids), np.full_like(eyes, 0.95))
        colour = _paint(colour, _near(longitude, latitude, which * spacing, 6, 8, 9 * lids), eyes)
        colour = _paint(colour, _near(longitude, latitude, which * spacing, 23 + 5 * brow_height, 14, 4), 0.5 * hair)
    lips = np.stack([0.65 + 0.3 * trait["mouth_red"], 0.25 - 0.1 * trait["mouth_red"], np.full_like(light, 0.3)], -1)
    width, gap = 20 + 8 * trait["mouth_width"], np.maximum(mouth_open, 0)
    colour = _paint(colour, _near(longitude, latitude, 0, -36, width, 7 + 9 * gap), lips)
    teeth = np.stack([0.6 + 0.4 * trait["teeth"], 0.6 + 0.4 * trait["teeth"], 0.45 + 0.45 * trait["teeth"]], -1)
    colour = _paint(colour, _near(longitude, latitude, 0, -36, 0.8 * width, 0.1 + 13 * gap) * (gap > 0), teeth)
    for which, place in (("left", MARK_LONGITUDE_DEG), ("right", -MARK_LONGITUDE_DEG)):
        mark = np.stack([0.5 + 0.5 * trait[f"{which}_red"], 0.5 + 0.5 * trait[f"{which}_green"], np.full_like(light, 0.2)], -1)
        colour = _paint(colour, _near(longitude, latitude, place, -14, 20, 20), mark)
    shading = (0.75 + 0.15 * brightness) + 0.25 * (w + 0.6 * light * u)
    colour = np.clip(_scaled(colour, shading), 0, 1)

    background = np.broadcast_to((0.55 + 0.3 * grey)[..., None], colour.shape).copy()
    shirt = np.stack([0.5 + 0.45 * c for c in (shirt_r, shirt_g, shirt_b)], -1)
    torso = (x[None] / 0.85) ** 2 + ((y[None] - 1.15) / 0.5) ** 2 < 1
    background = np.where(torso[..., None], shirt, background)
    picture = np.where(inside[..., None], colour, background)
    coarse = picture.reshape(len(picture), SIDE_PX, _SUPERSAMPLING, SIDE_PX, _SUPERSAMPLING, 3).mean(axis=(2, 4))
    return (coarse * 255).round().astype(np.uint8)


def _mark_angles(yaw_deg: Array) -> Array:
    """(*yaw.shape, 2) degrees between the camera and each mark's place on the head."""
    return np.abs(yaw_deg[..., None] + np.array([MARK_LONGITUDE_DEG, -MARK_LONGITUDE_DEG], np.float32))


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def _colours(lightness: Array, warmth: Array) -> Array:
    """(N, 1, 1, 3) skin."""
    return np.stack([lightness + warmth, lightness, lightness - warmth], axis=-1)


def _near(
    longitude: Array,
    latitude: Array,
    at_longitude: Array | float,
    at_latitude: Array | float,
    width: Array | float,
    height: Array | float,
) -> Array:
    """1 within an ellipse on the head, in degrees, with a soft edge."""
    distance = np.sqrt(((longitude - at_longitude) / width) ** 2 + ((latitude - at_latitude) / height) ** 2)
    return _step(1 - distance, 0.25)


def _step(value: Array, softness: float) -> Array:
    return np.clip(value / softness + 0.5, 0, 1)


def _paint(colour: Array, share: Array, over: Array) -> Array:
    return colour * (1 - share[..., None]) + over * share[..., None]


def _scaled(colour: Array, by: Array | float) -> Array:
    return colour * (by[..., None] if isinstance(by, np.ndarray) else by)
