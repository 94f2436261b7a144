"""Variants of the ablation: controls have what their rows have, and are told what they should be; each trains and is judged."""

import numpy as np
import pytest
import torch

from benchmarks import head_scores
from benchmarks.ablation import World, run
from benchmarks.head_base import base_of, pretrained_transformer
from benchmarks.head_clips import make_clips
from benchmarks.head_identity import IdentityEncoder
from benchmarks.head_judge import Recogniser
from benchmarks.head_scores import Drawing, Judge
from benchmarks.head_training import assemble, train
from benchmarks.head_variants import BASELINES, CLAIMS, QUICK, VARIANTS
from benchmarks.heads import MARK_TRAITS, TRAITS, marks_hidden


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    torch.manual_seed(0)
    return IdentityEncoder(Recogniser(4).eval().requires_grad_(False))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, encoder: IdentityEncoder) -> World:
    """Networks that were hardly trained."""
    folder = tmp_path_factory.mktemp("world")
    clips = make_clips(24, 5, encoder)
    transformer = pretrained_transformer(folder / "base.safetensors", clips, 1, lambda _: None)
    return World(folder, base_of(transformer, folder / "tiny"), clips, Judge(encoder.network, clips))


@pytest.fixture(scope="module")
def parameters(world: World) -> dict[str, int]:
    return {name: assemble(variant, 0, world.base, world.train).adapter_parameters for name, variant in VARIANTS.items()}


@pytest.mark.parametrize(
    ("row", "control"),
    [
        *(("cofe", control) for control in ("identity", "no_identity", "no_semantic", "no_detail")),
        *(("references", f"references_{control}") for control in ("0", "30", "expression", "repeated")),
        ("aligner", "aligner_shuffled"),
        ("aligner", "aligner_alone"),
        ("aligner", "aligner_raw"),
    ],
)
def test_a_control_has_as_many_parameters(row: str, control: str, parameters: dict[str, int]) -> None:
    assert parameters[row] == parameters[control] > 0


def test_one_gate_has_as_many_parameters_as_a_gate_a_block(parameters: dict[str, int]) -> None:
    assert parameters["mofe"] == pytest.approx(parameters["cofe"], rel=1e-3)


def test_rows_that_carry_a_claim_have_five_seeds() -> None:
    assert {VARIANTS[name].seeds for claim in CLAIMS for name in (claim.row, *claim.against)} == {5}
    assert set(BASELINES) == set(VARIANTS) - {"none"}
    assert set(BASELINES.values()) | set(QUICK) <= set(VARIANTS)
    assert min(variant.seeds for variant in VARIANTS.values()) == 2


def experts_of(world: World, name: str, change: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The experts' tokens, (B, 3, N, W), of photos and of photos whose feature `change` is another's."""
    trained = assemble(VARIANTS[name], 0, world.base, world.train)
    assert trained.model is not None
    photo = world.train.photo()
    other = photo._replace(**{change: getattr(photo, change).roll(1, 0)})
    with torch.no_grad():
        first, second = (trained.model.fusion(trained.told(face)).experts for face in (photo, other))
    return first, second


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_expert_is_fed_what_its_row_says(world: World, place: int) -> None:
    name = ("identity", "semantic", "detail")[place]
    first, second = experts_of(world, "cofe", name)
    changed = (first - second).abs().amax(dim=(0, 2, 3)) > 1e-4
    assert changed.tolist() == [place == other for other in range(3)]
    first, second = experts_of(world, f"no_{name}", name)
    assert torch.equal(first, second), "nothing of its own feature reaches the tokens"
    if place:
        first, second = experts_of(world, f"no_{name}", "identity")
        assert (first - second).abs().amax(dim=(0, 2, 3))[place] > 1e-4, "the identity embedding does"


def test_the_aligner_is_given_someone_else(world: World) -> None:
    photo = world.train.photo()
    own, shuffled = (assemble(VARIANTS[name], 0, world.base, world.train).model for name in ("aligner", "aligner_shuffled"))
    assert own is not None
    assert shuffled is not None
    given = (photo.semantic, photo.angles_deg)
    with torch.no_grad():
        assert torch.allclose(shuffled.fusion.pose_aligner(*given), own.fusion.pose_aligner(*given).roll(1, 0), atol=1e-5)


def test_references_are_as_named(world: World) -> None:
    trained = assemble(VARIANTS["references_repeated"], 0, world.base, world.train)
    views = Drawing(trained, world.judge.clips, 0).views
    assert views is not None
    assert torch.equal(views, world.train.view_latents[:, :1].expand_as(views))


@pytest.mark.parametrize("variant", [name if name == "all" else pytest.param(name, marks=pytest.mark.long) for name in VARIANTS])
def test_every_variant_trains_and_is_judged(variant: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps: it runs, changes nothing that it shares, and its seed decides everything."""
    monkeypatch.setattr(head_scores, "_SAMPLING_STEPS", 1)
    before = {name: value.clone() for name, value in world.base.transformer.state_dict().items()}
    first, again = (run(world, variant, 0, 2) for _ in range(2))
    _, other = train(VARIANTS[variant], 1, 2, world.base, world.train, lambda _step, _trained: None)
    assert (first.similarity, first.curve, first.withheld, first.loss) == (
        again.similarity,
        again.curve,
        again.withheld,
        again.loss,
    )
    assert first.loss != other
    assert np.isfinite([first.similarity, first.loss, *first.by_gap]).all()
    assert [step for step, _ in first.curve] == [1, 2]
    assert all(torch.equal(value, before[name]) for name, value in world.base.transformer.state_dict().items())


def test_hidden_features_are_scored_where_the_photo_hides_them(encoder: IdentityEncoder) -> None:
    """A reader that knows what both show and guesses the rest."""
    clips, rng = make_clips(150, 6, encoder), np.random.default_rng(0)
    judge = Judge(encoder.network, clips)
    true = clips.identities[:, None].expand(-1, 3, -1)
    assert judge.features(true) == pytest.approx({"hidden": 1.0, "hidden_teeth": 1.0, "seen": 1.0}, abs=1e-5)
    guessed = true.clone()
    hidden = marks_hidden(clips.view_angles_deg[:, 0, 0].numpy())
    for n, name in enumerate(MARK_TRAITS):
        rows = torch.from_numpy(hidden[:, n // 2])
        guesses = torch.from_numpy(rng.uniform(-1, 1, (int(rows.sum()), 1)).astype(np.float32))
        guessed[rows, :, TRAITS.index(name)] = guesses
    scores = judge.features(guessed)
    assert abs(scores["hidden"] or 0.0) < 0.4
    assert scores["seen"] == pytest.approx(1.0, abs=1e-5)
