"""The face branch by itself: shapes, gates, null tokens, and what tells CoFE from MoFE."""

from collections.abc import Callable

import pytest
import torch

from model.bases.base import Base
from model.encoding.face_features import FaceFeatures
from model.face_branch.fusion import FaceFusion
from model.presets import Preset


@pytest.fixture
def fusion(base: Base, features: FaceFeatures, quick: Callable[..., Preset]) -> Callable[..., FaceFusion]:
    def make(kind: str = "cofe") -> FaceFusion:
        torch.manual_seed(0)
        return FaceFusion.for_transformer(base.transformer, features, quick().fusion.model_copy(update={"kind": kind}))

    return make


def test_all_experts_speak_in_tokens_of_one_shape(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    tokens = fusion()(features)
    assert tokens.experts.shape == (2, 3, 4, 64)
    assert tokens.pooled.shape == (2, 3 * 64)


def test_each_expert_hears_its_own_encoder(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    branch = fusion()
    before = branch(features).experts
    after = branch(features._replace(semantic=features.semantic.flip(0))).experts
    changed = [not torch.equal(before[:, expert], after[:, expert]) for expert in range(3)]
    assert changed == [False, True, False]


def test_gate_weights_sum_to_one_and_depend_on_the_face(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    branch = fusion()
    weights = branch.gate(0)(branch(features).pooled, torch.zeros(2, 192))
    assert weights.shape == (2, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert not torch.equal(weights[0], weights[1])


def test_cofe_and_mofe_differ_in_exactly_the_gates(fusion: Callable[..., FaceFusion]) -> None:
    cofe, mofe = (set(fusion(kind).state_dict()) for kind in ("cofe", "mofe"))
    assert mofe < cofe
    assert {key.split(".")[0] for key in cofe - mofe} == {"gates"}
    assert fusion("cofe").gate(0) is not fusion("cofe").gate(1)
    shared = fusion("mofe")
    assert shared.gate(0) is shared.gate(1)


def test_a_dropped_face_is_the_null_tokens_and_no_other_row(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    branch = fusion()
    dropped = branch(features, keep=torch.tensor([True, False]))
    kept, null = branch(features), branch.null()
    torch.testing.assert_close(dropped.experts[0], kept.experts[0])
    torch.testing.assert_close(dropped.experts[1], null.experts[0])
    torch.testing.assert_close(dropped.pooled[1], null.pooled[0])


def test_a_dropped_face_has_the_null_person(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    branch = fusion()
    torch.nn.init.normal_(branch.join.weight)
    dropped = branch(features, keep=torch.tensor([True, False]))
    torch.testing.assert_close(dropped.input_shift[0], branch(features).input_shift[0])
    torch.testing.assert_close(dropped.input_shift[1], branch.null().input_shift[0])
    assert not torch.equal(dropped.input_shift[0], dropped.input_shift[1])


@pytest.mark.parametrize("normalised", [True, False])
def test_the_aligners_person_joins_at_the_size_of_an_embedded_video(
    base: Base, features: FaceFeatures, quick: Callable[..., Preset], normalised: bool
) -> None:
    config = quick().fusion
    aligner = config.aligner.model_copy(update={"normalised": normalised, "dictionary": 4096, "width": 512})
    torch.manual_seed(0)
    branch = FaceFusion.for_transformer(base.transformer, features, config.model_copy(update={"aligner": aligner}))
    torch.nn.init.normal_(branch.join.weight, std=512**-0.5)
    size = branch(features).input_shift.std()
    assert size > 0.5 if normalised else size < 0.05


def test_an_aligner_without_angles_says_what_is_missing(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    with pytest.raises(ValueError, match="Euler angles"):
        fusion()(features._replace(angles_deg=None))


def test_a_fresh_time_aware_gate_does_not_use_the_time(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    gate, pooled = fusion().gate(0), fusion()(features).pooled
    assert torch.equal(gate(pooled, torch.zeros(2, 192)), gate(pooled, torch.randn(2, 192)))


def test_full_injection_has_the_width_and_heads_of_the_block(
    base: Base, features: FaceFeatures, quick: Callable[..., Preset]
) -> None:
    config = quick().fusion.model_copy(update={"injection": "full"})
    attention = FaceFusion.for_transformer(base.transformer, features, config).attentions[0]
    assert attention.query.weight.shape == (192, 192)
    assert attention.heads == base.transformer.config.num_attention_heads


@pytest.mark.parametrize("part", ["aligner", "references"])
def test_a_part_that_is_off_has_no_parameter(base: Base, features: FaceFeatures, quick: Callable[..., Preset], part: str) -> None:
    on = quick().fusion
    keys = [
        set(FaceFusion.for_transformer(base.transformer, features, config).state_dict())
        for config in (on, on.model_copy(update={part: None}))
    ]
    own = {"aligner": {"pose_aligner", "null_person", "join"}, "references": {"null_reference", "reference_readers"}}
    assert {key.split(".")[0] for key in keys[0] - keys[1]} == own[part]
    assert keys[1] < keys[0]


def test_a_fresh_branch_says_nothing(fusion: Callable[..., FaceFusion], features: FaceFeatures) -> None:
    branch = fusion()
    fused = branch(features).experts.mean(dim=1)
    said = branch.attentions[0](torch.randn(2, 10, 192), fused)
    assert said.shape == (2, 10, 192)
    assert (said == 0).all()


def test_it_comes_back_from_disk(fusion: Callable[..., FaceFusion], features: FaceFeatures, tmp_path) -> None:
    branch = fusion("mofe")
    branch.save_pretrained(tmp_path)
    back = FaceFusion.from_pretrained(tmp_path)
    assert back.config.kind == "mofe"
    assert torch.equal(back(features).experts, branch.eval()(features).experts)
