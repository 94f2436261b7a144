"""Lips: they speak where the caption has somebody speak on screen, and rest where it has not; what nobody saw is not decided."""

from collections.abc import Sequence

import numpy as np
import pytest

from model.evaluation.measures.faces_over_time import lip_activity, lip_agreement
from tests.model.evaluation.measures.invented import frame_face, taken, video

SPEAKING, STILL, BETWEEN = ([extent * (n % 2) for n in range(16)] for extent in (0.06, 0.005, 0.02))
BORDERS = (0.012, 0.03)


def _measured(openings: Sequence[float | None], status: str, **facts: object) -> tuple[float | str, float | str]:
    faces = [None if opening is None else frame_face(mouth_opening=opening) for opening in openings]
    of = video(faces=faces, speaking_status=status, **{"lip_borders": BORDERS} | facts)
    return taken(lip_activity, of), taken(lip_agreement, of)


@pytest.mark.parametrize(
    ("openings", "status", "agrees"),
    [
        (SPEAKING, "on_screen", 1.0),
        (STILL, "on_screen", 0.0),
        (SPEAKING, "off_screen", 0.0),
        (STILL, "off_screen", 1.0),
        (STILL, "silent", 1.0),
        (SPEAKING, "silent", 0.0),
    ],
)
def test_lips_do_what_the_caption_says_or_not(openings: list[float], status: str, agrees: float) -> None:
    activity, agreement = _measured(openings, status)
    assert activity == pytest.approx(max(openings))
    assert agreement == agrees


@pytest.mark.parametrize(
    ("openings", "status", "borders", "reason"),
    [
        (SPEAKING, "no_audio", BORDERS, "undecidable: the caption's speaking status is no_audio"),
        (SPEAKING, "undecidable", BORDERS, "undecidable: the caption's speaking status is undecidable"),
        (BETWEEN, "silent", BORDERS, "undecidable: lips move by 0.020, between 0.012 (still) and 0.03 (speaking)"),
        (SPEAKING, "on_screen", None, "the engine of the bench has no borders"),
        ([None] * 16, "on_screen", BORDERS, "no mouth was measured in any drawn frame"),
        (SPEAKING[:5], "on_screen", BORDERS, "no second has six frames with a measured mouth"),
    ],
)
def test_what_cannot_be_decided_is_absent(openings, status, borders, reason) -> None:
    assert str(_measured(openings, status, lip_borders=borders)[1]).startswith(reason)


def test_frames_without_a_mouth_are_left_out() -> None:
    """A second of 8 frames, of which six show it: their 90th minus 10th percentile, by hand."""
    openings = [0.0, 0.1, None, 0.2, 0.3, None, 0.4, 0.5]
    activity, _ = _measured(openings, "on_screen")
    assert activity == pytest.approx(np.subtract(*np.percentile([0, 0.1, 0.2, 0.3, 0.4, 0.5], [90, 10])))


def test_a_second_is_a_second_at_any_rate() -> None:
    """A mouth that opens slowly over four seconds does not speak."""
    slowly = np.linspace(0, 0.2, 64)
    assert _measured(slowly, "silent", fps=16.0)[0] == pytest.approx(0.2 / 63 * 15 * 0.8)
