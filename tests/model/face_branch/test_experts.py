"""Resamplers that see: a place on the face matters, queries differ, and a mark of a few pixels reaches the tokens."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from model.face_branch.experts import Resampler, places

SIDE, WIDTH = 16, 64


@pytest.fixture
def resampler() -> Callable[..., Resampler]:
    def make(channels: int, side: int = SIDE, width: int = WIDTH) -> Resampler:
        torch.manual_seed(0)
        fresh = Resampler(channels, tokens=32, width=width, layers=2, heads=width // 16).eval()
        fresh.sharpen(side**2)
        return fresh

    return make


def smooth(rows: int, channels: int, seed: int, side: int = SIDE) -> torch.Tensor:
    """(rows, side x side, channels): neighbours are alike, as in the latents of a picture."""
    coarse = torch.randn(rows, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(side, side), mode="bicubic").flatten(2).transpose(1, 2)


@torch.no_grad()
@pytest.mark.parametrize("channels", [16, 1280])
def test_where_a_detail_lies_changes_what_is_said_of_it(resampler: Callable[..., Resampler], channels: int) -> None:
    fresh, picture = resampler(channels), smooth(8, channels, 0)
    said = fresh(picture)
    shuffled = fresh(picture[:, torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(1))])
    between_faces = (said - said.roll(1, 0)).norm()
    assert (said - shuffled).norm() > 0.2 * between_faces


@torch.no_grad()
def test_queries_say_different_things(resampler: Callable[..., Resampler]) -> None:
    tokens = F.normalize(resampler(16)(smooth(4, 16, 0)), dim=-1)
    alike = (tokens @ tokens.transpose(1, 2))[:, ~torch.eye(32, dtype=torch.bool)]
    assert alike.mean() < 0.3


@torch.no_grad()
@pytest.mark.parametrize(("side", "mark", "width"), [(16, 1, WIDTH), (64, 2, 256)])
def test_a_mark_of_a_few_pixels_reaches_the_tokens(resampler: Callable[..., Resampler], side: int, mark: int, width: int) -> None:
    """A mark of 8 px on 128 px, or of 16 px on 512 px, changes at least a fiftieth of what another face would."""
    fresh, picture = resampler(16, side, width), smooth(4, 16, 0, side)
    marked = picture.unflatten(1, (side, side)).clone()
    place = slice(side // 3, side // 3 + mark)
    marked[:, place, place] += 2
    said = fresh(picture)
    assert (fresh(marked.flatten(1, 2)) - said).norm() > 0.02 * (said - said.roll(1, 0)).norm()


@pytest.mark.parametrize(("tokens", "extra"), [(256, 0), (257, 1), (261, 5)])
def test_class_tokens_and_registers_have_no_place(tokens: int, extra: int) -> None:
    table = places(tokens, WIDTH, torch.device("cpu"))
    assert table.shape == (tokens, WIDTH)
    assert (table[:extra] == 0).all()
    assert torch.equal(table[extra:], places(256, WIDTH, torch.device("cpu")))
    assert len(torch.unique(table[extra:], dim=0)) == 256


def test_a_place_means_the_same_at_every_resolution() -> None:
    fine, coarse = (places(side**2, WIDTH, torch.device("cpu")).unflatten(0, (side, side)) for side in (32, 16))
    torch.testing.assert_close(fine[::2, ::2], coarse)
