"""The two public-domain portraits that installed packages carry: where they lie, what may be done with them, who is in front.

Belongs here: pixels, outline and provenance of a portrait. Not here: turning heads (`head_warp`) or making further persons
of them (`persons`). insightface's group photograph `t1` is a publicity picture, not public domain: it has no place here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]  # (height, width, 3), red first


@dataclass(frozen=True)
class Portrait:
    """A frontal portrait with its sitter's outline, in pixels (x right, y down) of the packaged picture.

    Attributes:
        face_box: left, top, right, bottom where dlib's detector finds the face.
        hair_half_width: half the width of hair or hat above the brows, in half face widths.
    """

    name: str
    sitter: str
    licence: str
    provenance: str
    load: Callable[[], RgbImage]
    face_box: tuple[int, int, int, int]
    hair_half_width: float
    outline: tuple[tuple[int, int], ...]


def _load_collins() -> RgbImage:
    from skimage import data

    return np.ascontiguousarray(data.astronaut(), dtype=np.uint8)


def _load_hopper() -> RgbImage:
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    with Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


# fmt: off
_COLLINS_OUTLINE = (
    (201, 23), (185, 38), (163, 51), (156, 58), (153, 68), (154, 92), (157, 104), (170, 116), (173, 126), (181, 133),
    (184, 148), (161, 149), (149, 153), (140, 158), (131, 167), (125, 177), (122, 195), (113, 203), (104, 217),
    (77, 235), (65, 246), (46, 278), (34, 315), (26, 342), (24, 376), (20, 391), (20, 418), (25, 432), (25, 470),
    (31, 498), (41, 511), (511, 511), (507, 487), (499, 478), (492, 471), (502, 456), (496, 447), (493, 421),
    (489, 408), (478, 385), (455, 362), (436, 352), (418, 346), (385, 344), (366, 344), (357, 300), (349, 268),
    (304, 234), (299, 219), (289, 203), (274, 187), (262, 178), (257, 170), (258, 158), (264, 146), (268, 134),
    (276, 128), (290, 116), (297, 105), (299, 96), (299, 72), (296, 62), (288, 43), (276, 31), (248, 18), (227, 16),
    (212, 20),
)
_HOPPER_OUTLINE = (
    (231, 27), (208, 38), (196, 49), (181, 61), (176, 78), (165, 92), (152, 108), (148, 120), (148, 180), (152, 192),
    (153, 216), (160, 226), (167, 247), (170, 262), (182, 275), (186, 290), (192, 298), (198, 312), (199, 319),
    (183, 333), (164, 344), (132, 354), (96, 364), (72, 375), (53, 384), (42, 392), (36, 408), (30, 440), (27, 470),
    (23, 500), (17, 535), (8, 599), (511, 599), (511, 441), (508, 430), (492, 394), (464, 378), (422, 367),
    (376, 346), (365, 342), (343, 325), (331, 312), (332, 297), (337, 288), (340, 270), (344, 266), (354, 266),
    (361, 260), (367, 236), (368, 225), (370, 213), (375, 196), (373, 187), (368, 181), (369, 174), (371, 134),
    (369, 124), (368, 96), (365, 90), (353, 85), (351, 77), (344, 65), (329, 52), (313, 44), (302, 40), (287, 30),
    (275, 25), (249, 23),
)
# fmt: on

COLLINS = Portrait(
    name="collins",
    sitter="Eileen Collins",
    licence="public-domain (work of NASA)",
    provenance="skimage.data.astronaut(): photograph from the NASA Great Images database",
    load=_load_collins,
    face_box=(175, 76, 265, 166),
    hair_half_width=1.6,
    outline=_COLLINS_OUTLINE,
)

HOPPER = Portrait(
    name="hopper",
    sitter="Grace Hopper",
    licence="public-domain (work of the US Navy)",
    provenance="matplotlib sample_data/grace_hopper.jpg: official portrait photograph of Commodore Hopper",
    load=_load_hopper,
    face_box=(180, 139, 366, 325),
    hair_half_width=1.27,
    outline=_HOPPER_OUTLINE,
)

PORTRAITS: dict[str, Portrait] = {portrait.name: portrait for portrait in (COLLINS, HOPPER)}
