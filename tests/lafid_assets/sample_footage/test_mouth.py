"""Opening the mouth."""

import numpy as np

from lafid_assets.sample_footage.face_sheet import make_face_sheet
from lafid_assets.sample_footage.mouth import open_mouth
from lafid_assets.sample_footage.persons import PERSONS
from lafid_assets.sample_footage.render import Landmarks
from model.face_engine.dlib_engine import DlibEngine


def test_the_wider_the_gap_the_wider_the_mouth_that_is_measured(landmarks: Landmarks) -> None:
    sheet = make_face_sheet(PERSONS["hopper"], landmarks["hopper"])
    engine = DlibEngine()
    openings = []
    for gap in (0.0, 0.1, 0.2):
        texture = open_mouth(sheet.texture, sheet.frame, gap)
        (face,) = engine.detect(texture[..., :3] + (255 - texture[..., 3:]) // 2, embed=False)
        assert face.mouth_opening is not None
        openings.append(face.mouth_opening)
    assert openings[0] < 0.03
    assert openings[0] + 0.02 < openings[1] < openings[2] - 0.015


def test_only_the_lower_face_changes(landmarks: Landmarks) -> None:
    sheet = make_face_sheet(PERSONS["collins"], landmarks["collins"])
    opened = open_mouth(sheet.texture, sheet.frame, 0.2)
    changed = np.argwhere((opened != sheet.texture).any(axis=-1))[:, ::-1]
    in_head_units = sheet.frame.from_px(changed)
    assert len(changed) > 500
    assert in_head_units[:, 1].min() > sheet.frame.landmarks[51, 1] - 0.05
    assert np.abs(in_head_units[:, 0]).max() < 1.35
