"""Drawn heads turn, hide and pull faces as stated."""

import numpy as np
import pytest

from benchmarks.heads import (
    EXPRESSION,
    NUISANCES,
    TRAITS,
    draw_identities,
    marks_hidden,
    marks_shown,
    render,
    teeth_hidden,
    teeth_shown,
)

SHUT, AGAPE = (0.0, 0.0, 1.0), (1.0, 0.0, 1.0)


def head(yaw_deg: float, expression: tuple[float, ...] = SHUT, **traits: float) -> np.ndarray:
    identity = np.array([[traits.get(name, 0.0) for name in TRAITS]], np.float32)
    expressions = np.array([expression], np.float32)
    return render(identity, np.array([yaw_deg], np.float32), expressions, np.zeros((1, NUISANCES), np.float32))[0].astype(int)


def change(yaw_deg: float, trait: str, expression: tuple[float, ...] = SHUT) -> int:
    """How much a trait changes the picture, summed over it."""
    return int(np.abs(head(yaw_deg, expression, **{trait: 1.0}) - head(yaw_deg, expression, **{trait: -1.0})).sum())


def test_yaw_turns_the_face_to_the_images_left() -> None:
    """By the mouth, the reddest spot of the face."""
    red = {yaw: head(yaw, mouth_red=1.0)[8:11, :, 0] - head(yaw, mouth_red=-1.0)[8:11, :, 0] for yaw in (-40, 0, 40)}
    columns = np.arange(16)
    middle = {yaw: float((np.abs(shift).sum(axis=0) * columns).sum() / np.abs(shift).sum()) for yaw, shift in red.items()}
    assert middle[40] < middle[0] - 1 < middle[-40] - 2
    assert middle[0] == pytest.approx(7.5, abs=0.3)


@pytest.mark.parametrize("yaw_deg", [-75, -40, -20, 0, 20, 40, 75])
def test_a_mark_is_seen_from_its_own_side_alone(yaw_deg: float) -> None:
    yaw = np.array([yaw_deg], np.float32)
    for which, trait in enumerate(("left_red", "right_red")):
        seen = change(yaw_deg, trait)
        if marks_hidden(yaw)[0, which]:
            assert seen <= 10, "a few values by one or two, of 768"
        if marks_shown(yaw)[0, which]:
            assert seen > 300
    assert marks_shown(np.array([-45.0])).tolist() == [[True, False]]
    assert marks_hidden(np.array([-45.0])).tolist() == [[False, True]]


def test_teeth_are_seen_in_an_open_mouth_alone() -> None:
    assert change(0, "teeth") == 0
    assert change(0, "teeth", AGAPE) > 300
    both = np.array([SHUT, AGAPE], np.float32)
    assert teeth_hidden(both).tolist() == [True, False]
    assert teeth_shown(both).tolist() == [False, True]


@pytest.mark.parametrize("part", EXPRESSION)
def test_every_part_of_the_expression_is_seen(part: str) -> None:
    low, high = (tuple(value if name == part else 0.0 for name in EXPRESSION) for value in (-1.0, 1.0))
    assert np.abs(head(0, low, hair_red=-1) - head(0, high, hair_red=-1)).sum() > 100


def test_the_colour_of_closed_eyes_is_hardly_seen() -> None:
    assert change(0, "eye_red", (0.0, 0.0, -1.0)) < 0.25 * change(0, "eye_red", (0.0, 0.0, 1.0))


def test_identities_are_independent() -> None:
    drawn = draw_identities(2000, np.random.default_rng(0))
    assert np.abs(np.corrcoef(drawn.T) - np.eye(len(TRAITS))).max() < 0.1
