"""What `benchmarks.ablation` compares: every row of its table, the control that it is held against, and what rows claim.

A control has the very parameters and tokens of the row that it belongs to, and less to learn from: an expert that is fed from
the identity embedding in place of its own features, views that are the photo again, an aligner that is given someone else.

Belongs here: rows, controls, claims. Not here: how a row is trained (`head_training`), judged (`head_scores`) and tested
(`ablation_table`).
"""

from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.head_base import BLOCKS
from benchmarks.head_clips import Spread
from model.presets import AlignerConfig, FusionConfig, ReferenceConfig

_GATE_WIDTH = 32
_COFE = FusionConfig(tokens=4, token_width=48, gate_width=_GATE_WIDTH, attention_width=48, head_width=24)
# One gate for the network with as many hidden units as CoFE's have together.
_MOFE = _COFE.model_copy(update={"kind": "mofe", "gate_width": _GATE_WIDTH * BLOCKS})
_ALIGNER = AlignerConfig(dictionary=128, width=32, pairs=64, chunk=64)
_VIEWS = 2
_RANK = 16


def _with(**parts: object) -> FusionConfig:
    return _COFE.model_copy(update=parts)


def _masked(share: float) -> FusionConfig:
    return _with(references=ReferenceConfig(views=_VIEWS, masked_share=share, rank=_RANK))


@dataclass(frozen=True)
class Variant:
    """One row: an adapter, and what it is told of the person."""

    note: str
    fusion: FusionConfig | None
    spread: Spread | None = None
    """Which views are its references."""
    deaf: tuple[str, ...] = ()
    """Experts that are given zeros."""
    from_identity: tuple[str, ...] = ()
    """Experts that are given the identity embedding in tokens of their own shape."""
    shuffled: bool = False
    """The aligner is given another person than the experts."""
    seeds: int = 2


VARIANTS: dict[str, Variant] = {
    "none": Variant("no face branch", None),
    "identity": Variant("identity alone: it feeds all three experts", _COFE, from_identity=("semantic", "detail"), seeds=5),
    "mofe": Variant("MoFE: one gate, as many parameters", _MOFE, seeds=5),
    "cofe": Variant("CoFE: a gate a block", _COFE, seeds=5),
    "cofe_time": Variant("CoFE, gates see the time", _with(time_aware=True)),
    "no_identity": Variant("CoFE, identity given zeros", _COFE, deaf=("identity",), seeds=5),
    "no_semantic": Variant("CoFE, semantic fed from identity", _COFE, from_identity=("semantic",), seeds=5),
    "no_detail": Variant("CoFE, detail fed from identity", _COFE, from_identity=("detail",), seeds=5),
    "references": Variant("CoFE + views spread in pose, 60 % hidden", _masked(0.6), "pose", seeds=5),
    "references_30": Variant("the same, 30 % hidden", _masked(0.3), "pose"),
    "references_0": Variant("the same, nothing hidden", _masked(0.0), "pose"),
    "references_expression": Variant("CoFE + views spread in expression, 60 %", _masked(0.6), "expression"),
    "references_repeated": Variant("CoFE + the photo again and again, 60 %", _masked(0.6), "repeated", seeds=5),
    "aligner": Variant("CoFE + aligner", _with(aligner=_ALIGNER), seeds=5),
    "aligner_shuffled": Variant("CoFE + aligner of someone else", _with(aligner=_ALIGNER), shuffled=True, seeds=5),
    "aligner_raw": Variant("CoFE + aligner, not normalised", _with(aligner=_ALIGNER.model_copy(update={"normalised": False}))),
    "aligner_alone": Variant("aligner alone", _with(aligner=_ALIGNER), deaf=("identity", "semantic", "detail")),
    "all": Variant(
        "CoFE, time, views, aligner",
        _with(time_aware=True, aligner=_ALIGNER, references=ReferenceConfig(views=_VIEWS, masked_share=0.6, rank=_RANK)),
        "pose",
        seeds=5,
    ),
}
QUICK = ("none", "identity", "mofe", "cofe", "references", "aligner", "all")
"""What `--quick` runs, with two seeds each."""


class Claim(NamedTuple):
    """`row`'s `column` is above that of `against`, seed by seed."""

    text: str
    row: str
    column: str
    against: tuple[str, ...]
    """One row, or several of which the best one counts."""
    against_column: str | None = None
    """Where it is another column (of the same row)."""
    at_least: bool = False
    """It claims to be no worse, not to be better."""


_ALONE = ("mofe", "cofe", "references", "aligner")
CLAIMS = (
    Claim("three experts beat identity alone", "cofe", "similarity", ("identity",)),
    Claim("the identity expert adds", "cofe", "similarity", ("no_identity",)),
    Claim("the semantic expert adds", "cofe", "similarity", ("no_semantic",)),
    Claim("the detail expert adds", "cofe", "similarity", ("no_detail",)),
    Claim("a gate a block beats one gate", "cofe", "similarity", ("mofe",)),
    Claim("another person's photo takes away", "cofe", "similarity", ("cofe",), "swap_photo"),
    Claim("references add", "references", "similarity", ("references_repeated",)),
    Claim("references add to CoFE", "references", "similarity", ("cofe",)),
    Claim("references show what the photo hides", "references", "hidden", ("references_repeated",)),
    Claim("another person's views take away", "references", "similarity", ("references",), "swap_views"),
    Claim("the aligner adds far from the photo's pose", "aligner", "far_pose", ("aligner_shuffled",)),
    Claim("the aligner adds to CoFE far from the photo's pose", "aligner", "far_pose", ("cofe",)),
    Claim("all together are at least as good as the best alone", "all", "similarity", _ALONE, at_least=True),
)
BASELINES = {
    "identity": "none",
    "mofe": "identity",
    "cofe": "identity",
    "cofe_time": "cofe",
    "no_identity": "cofe",
    "no_semantic": "cofe",
    "no_detail": "cofe",
    "references": "references_repeated",
    "references_30": "references_repeated",
    "references_0": "references_repeated",
    "references_expression": "references_repeated",
    "references_repeated": "cofe",
    "aligner": "aligner_shuffled",
    "aligner_shuffled": "cofe",
    "aligner_raw": "aligner_shuffled",
    "aligner_alone": "none",
    "all": "cofe",
}
"""What each row is compared with in the table; `none` with nothing."""
