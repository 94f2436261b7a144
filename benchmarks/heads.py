"""Drawn heads whose identity and pose are known: the faces of `benchmarks.ablation`.

A head is a shaded ellipsoid that carries its features (hair, eyes, mouth, nose, a mark on one cheek) at fixed longitudes
and latitudes, so turning it moves and hides them as a real head's are moved and hidden. Identity is a vector of 16 numbers
in [-1, 1]; light, background and shirt are nuisances that a photo and a video of one person do not share.

Belongs here: identity, pose and nuisance -> pixels. Not here: who judges them (`benchmarks.head_judge`).
"""

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 16
TRAITS = (
    *("skin_lightness", "skin_warmth", "hair_red", "hair_green", "hair_blue", "hairline"),
    *("eye_red", "eye_green", "eye_blue", "eye_spacing", "mouth_red", "mouth_width"),
    *("head_width", "mark_red", "mark_green", "mark_side"),
)
"""What tells two heads apart. `mark_side` says on which cheek the mark sits: it is hidden from the other side."""
NUISANCES = 7
"""Light from the left or right, brightness, background grey, shirt colour (3), vertical place."""

_SUPERSAMPLING = 3
_HEAD_RADIUS = 0.62  # of half the picture
_DRAWN_AT_ONCE = 256

Array = NDArray[np.float32]


def draw_identities(count: int, rng: np.random.Generator) -> Array:
    """(count, 16) independent identities."""
    return rng.uniform(-1, 1, (count, len(TRAITS))).astype(np.float32)


def draw_nuisances(count: int, rng: np.random.Generator) -> Array:
    """(count, 7) in [-1, 1]."""
    return rng.uniform(-1, 1, (count, NUISANCES)).astype(np.float32)


def render(identities: Array, yaw_deg: Array, nuisances: Array) -> NDArray[np.uint8]:
    """(N, 16, 16, 3) RGB of N heads, each with its identity (N, 16), yaw (N,) (> 0 to the image's left), nuisance (N, 7)."""
    parts = range(0, len(identities), _DRAWN_AT_ONCE)
    cuts = [slice(start, start + _DRAWN_AT_ONCE) for start in parts]
    return np.concatenate([_render(identities[cut], yaw_deg[cut], nuisances[cut]) for cut in cuts])


def _render(identities: Array, yaw_deg: Array, nuisances: Array) -> NDArray[np.uint8]:
    side = SIDE_PX * _SUPERSAMPLING
    axis = ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    trait = {name: identities[:, i, None, None] for i, name in enumerate(TRAITS)}
    light, brightness, grey, shirt_r, shirt_g, shirt_b, shift = (nuisances[:, i, None, None] for i in range(NUISANCES))

    # The visible surface in the camera's frame: u right, v up, w towards the camera, all on the unit sphere.
    u = x[None] / (_HEAD_RADIUS * (1 + 0.18 * trait["head_width"]))
    v = -(y[None] + 0.12 + 0.05 * shift) / (_HEAD_RADIUS * 1.2)
    inside = u**2 + v**2 < 1
    w = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    yaw = np.deg2rad(yaw_deg)[:, None, None]
    # Longitude on the head: 0 at the nose, positive to the image's left on a frontal head.
    longitude = np.rad2deg(np.arctan2(-u, w)) - np.rad2deg(yaw)
    latitude = np.rad2deg(np.arcsin(np.clip(v, -1, 1)))

    colour = _colours(0.62 + 0.25 * trait["skin_lightness"], 0.12 + 0.08 * trait["skin_warmth"])
    colour = _paint(colour, _near(longitude, latitude, 0, -8, 7, 14) * 0.35, _scaled(colour, 0.75))  # the nose's shadow
    hair = np.stack([0.5 + 0.45 * trait[f"hair_{c}"] for c in ("red", "green", "blue")], -1)
    hairline = 32 + 14 * trait["hairline"]
    colour = _paint(colour, _step(latitude - hairline + 2.2 * np.maximum(np.abs(longitude) - 62, 0), 6), hair)
    eyes = np.stack([0.45 + 0.45 * trait[f"eye_{c}"] for c in ("red", "green", "blue")], -1)
    spacing = 25 + 7 * trait["eye_spacing"]
    for which in (-1, 1):
        colour = _paint(colour, _near(longitude, latitude, which * spacing, 8, 13, 10), np.full_like(eyes, 0.95))
        colour = _paint(colour, _near(longitude, latitude, which * spacing, 8, 8, 9), eyes)
    mouth = np.stack([0.65 + 0.3 * trait["mouth_red"], 0.25 - 0.1 * trait["mouth_red"], 0.3 - 0 * trait["mouth_red"]], -1)
    colour = _paint(colour, _near(longitude, latitude, 0, -36, 20 + 8 * trait["mouth_width"], 7), mouth)
    mark = np.stack([0.5 + 0.5 * trait["mark_red"], 0.5 + 0.5 * trait["mark_green"], 0.2 + 0 * trait["mark_red"]], -1)
    colour = _paint(colour, _near(longitude, latitude, 48 * np.sign(trait["mark_side"]), -18, 15, 13), mark)
    shading = (0.75 + 0.15 * brightness) + 0.25 * (w + 0.6 * light * u)
    colour = np.clip(_scaled(colour, shading), 0, 1)

    background = np.broadcast_to((0.55 + 0.3 * grey)[..., None], colour.shape).copy()
    shirt = np.stack([0.5 + 0.45 * c for c in (shirt_r, shirt_g, shirt_b)], -1)
    torso = (x[None] / 0.85) ** 2 + ((y[None] - 1.15) / 0.5) ** 2 < 1
    background = np.where(torso[..., None], shirt, background)
    picture = np.where(inside[..., None], colour, background)
    coarse = picture.reshape(len(picture), SIDE_PX, _SUPERSAMPLING, SIDE_PX, _SUPERSAMPLING, 3).mean(axis=(2, 4))
    return (coarse * 255).round().astype(np.uint8)


def _colours(lightness: Array, warmth: Array) -> Array:
    """(N, 1, 1, 3) skin."""
    return np.stack([lightness + warmth, lightness, lightness - warmth], axis=-1)


def _near(
    longitude: Array, latitude: Array, at_longitude: Array | float, at_latitude: float, width: Array | float, height: float
):
    """1 within an ellipse on the head, in degrees, with a soft edge."""
    distance = np.sqrt(((longitude - at_longitude) / width) ** 2 + ((latitude - at_latitude) / height) ** 2)
    return _step(1 - distance, 0.25)


def _step(value: Array, softness: float) -> Array:
    return np.clip(value / softness + 0.5, 0, 1)


def _paint(colour: Array, share: Array, over: Array) -> Array:
    return colour * (1 - share[..., None]) + over * share[..., None]


def _scaled(colour: Array, by: Array | float) -> Array:
    return colour * (by[..., None] if isinstance(by, np.ndarray) else by)
