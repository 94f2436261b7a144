"""The ablation's own claims: heads turn and hide as stated, clips do not leak, a result is never computed twice."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import ablation
from benchmarks.head_clips import FRAMES, decode, make_clips, text_rows
from benchmarks.head_judge import Recogniser, validity
from benchmarks.head_models import VARIANTS, Score, base_of, gap_means, pretrained_transformer, run
from benchmarks.heads import NUISANCES, TRAITS, draw_identities, render


@pytest.fixture(scope="module")
def encoder() -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(4).eval().requires_grad_(False)


def head(yaw_deg: float, **traits: float) -> np.ndarray:
    identity = np.array([[traits.get(name, 0.0) for name in TRAITS]], np.float32)
    return render(identity, np.array([yaw_deg], np.float32), np.zeros((1, NUISANCES), np.float32))[0].astype(int)


def test_yaw_turns_the_face_to_the_images_left() -> None:
    """By the mouth, the reddest spot of the face."""
    red = {yaw: head(yaw, mouth_red=1.0)[8:11, :, 0] - head(yaw, mouth_red=-1.0)[8:11, :, 0] for yaw in (-40, 0, 40)}
    columns = np.arange(16)
    middle = {yaw: float((np.abs(change).sum(axis=0) * columns).sum() / np.abs(change).sum()) for yaw, change in red.items()}
    assert middle[40] < middle[0] - 1 < middle[-40] - 2
    assert middle[0] == pytest.approx(7.5, abs=0.3)


def test_a_mark_is_hidden_from_the_other_side() -> None:
    shown, hidden = (
        np.abs(head(yaw, mark_side=1.0, mark_red=1.0) - head(yaw, mark_side=1.0, mark_red=-1.0)).sum() for yaw in (-40, 60)
    )
    assert (shown > 0) != (hidden > 0)


def test_photo_and_video_share_the_person_alone(encoder: Recogniser) -> None:
    clips = make_clips(40, 5, encoder)
    assert clips.latents.shape == (40, 48, FRAMES, 4, 4)
    assert clips.view_latents.shape == (40, 3, 48, 4, 4)
    assert torch.equal(clips.face.detail, clips.view_latents[:, 0].flatten(2).transpose(1, 2))
    frames, photos = decode(clips.latents), decode(clips.view_latents.transpose(1, 2))
    shirt = np.abs(frames[:, 0, -1, 8].astype(int) - photos[:, 0, -1, 8]).mean()
    assert shirt > 30, "another shirt in the photo"
    assert np.array_equal(frames[:, 0, -1, 8] // 8, frames[:, 2, -1, 8] // 8), "one shirt in a video"
    assert torch.equal(clips.text, text_rows(clips.yaw_deg)), "the text tells the pose and nothing else"
    again = make_clips(40, 5, encoder)
    assert torch.equal(again.latents, clips.latents)
    assert not (make_clips(40, 6, encoder).identities[:, None] == clips.identities[None]).all(dim=-1).any()


def test_similarity_falls_into_its_gap() -> None:
    similarity, gap = np.array([[0.9, 0.5], [0.1, 0.3]]), np.array([[0.0, 30.0], [149.0, 59.9]])
    assert gap_means(similarity, gap) == pytest.approx([0.9, 0.4, 0.1])


def test_validity_of_a_perfect_and_of_a_blind_judge(encoder: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = validity(encoder)
    assert blind.auc < 0.9
    known = torch.nn.functional.normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    monkeypatch.setattr(Recogniser, "embed", lambda *_: known)
    perfect = validity(encoder)
    assert (perfect.same, perfect.auc) == pytest.approx((1.0, 1.0))
    assert abs(perfect.different) < 0.02


def test_results_are_kept_and_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[str, int]] = []

    def stand_in_run(variant: str, seed: int, *_: object) -> Score:
        ran.append((variant, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return Score(0.25 * (seed + 1), [0.5, 0.25, 0.125 * (seed + 1)], 1.0)

    for name, stand_in in (
        *(("recogniser", lambda *_, **__: None), ("make_clips", lambda count, *_: make_clips(4, 5, _ENCODER))),
        *(("pretrained_transformer", lambda *_: None), ("base_of", lambda *_: None), ("run", stand_in_run)),
        *(("similarity_of", lambda *_: np.full((4, FRAMES), 0.9)), ("validity", lambda _: validity(_ENCODER))),
    ):
        monkeypatch.setattr(ablation, name, stand_in)
    sizes = {"base_steps": 1, "train_persons": 4, "test_persons": 4}
    with pytest.raises(KeyboardInterrupt):
        ablation.measure(tmp_path, ["none", "cofe"], 2, 10, sizes)
    table = ablation.measure(tmp_path, ["none", "cofe"], 2, 10, sizes)
    assert ran == [("none", 0), ("cofe", 0), ("none", 1), ("none", 1), ("cofe", 1)], "what was done is not done again"
    assert table["cofe"]["similarity"] == pytest.approx(0.375)
    assert table["cofe"]["similarity_spread"] == pytest.approx(np.std([0.25, 0.5], ddof=1))
    assert table["cofe"]["by_gap"] == pytest.approx([0.5, 0.25, 0.1875])
    ablation.show(table)
    assert "0.375 ± 0.177" in capsys.readouterr().out
    json.dumps(table)


@pytest.mark.parametrize("variant", [name if name == "all" else pytest.param(name, marks=pytest.mark.long) for name in VARIANTS])
def test_every_variant_trains_and_is_judged(variant: str, tmp_path: Path) -> None:
    """From an untrained base, two steps: it runs, changes nothing it shares, and its seed decides everything."""
    clips = make_clips(20, 5, _ENCODER)
    transformer = pretrained_transformer(tmp_path / "base.safetensors", clips, 1, lambda _: None)
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    shared = base_of(transformer, tmp_path / "tiny")
    first, again, other = (run(variant, seed, 2, shared, clips, clips, _ENCODER) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert np.isfinite([first.similarity, first.loss]).all()
    assert all(torch.equal(value, before[name]) for name, value in transformer.state_dict().items())


_ENCODER = Recogniser(4).eval().requires_grad_(False)


def test_every_variant_is_a_line_of_config() -> None:
    assert VARIANTS["none"] is None
    assert VARIANTS["mofe"].kind == "mofe"
    assert VARIANTS["mofe"].model_copy(update={"kind": "cofe"}) == VARIANTS["cofe"]
    assert VARIANTS["aligner"].model_copy(update={"aligner": None}) == VARIANTS["cofe"]
    assert VARIANTS["references"].model_copy(update={"references": None}) == VARIANTS["cofe"]


def test_identities_are_independent() -> None:
    drawn = draw_identities(2000, np.random.default_rng(0))
    assert np.abs(np.corrcoef(drawn.T) - np.eye(len(TRAITS))).max() < 0.1
