"""Every number of a training run as typed, frozen Python; a preset is one such object under a name.

Belongs here: sizes, rates, seeds, each with its bounds and one sentence. Not here: anything that loads torch
(Dagster's definitions read these types), and presets whose base cannot be run.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

FusionKind = Literal["cofe", "mofe"]
Trainable = Literal["adapter", "adapter_and_lora", "all"]

TEXT_ROWS = 512
"""Rows of text Wan was trained with; diffusers hard-codes them and masks none, so shorter text is padded with zeros."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClipSize(_Frozen):
    """The video tensor of one training clip, in pixels and frames."""

    frames: PositiveInt = Field(9, description="frames of a clip")
    height: PositiveInt = Field(64, description="pixels; a multiple of the codec's factor times the patch")
    width: PositiveInt = Field(64, description="pixels; a multiple of the codec's factor times the patch")
    fps: float = Field(8.0, gt=0, description="frames a second; clips are cut by time, whatever rate they were filmed at")

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last."""
        return (self.frames - 1) / self.fps


class FusionConfig(_Frozen):
    """The face branch: three experts, fused, read by a narrow attention beside the text cross-attention."""

    kind: FusionKind = Field("cofe", description="cofe: a gate a block (paper v3); mofe: one gate for the network (v1)")
    tokens: PositiveInt = Field(4, description="tokens every expert is projected to")
    token_width: PositiveInt = Field(64, description="width of those tokens")
    gate_width: PositiveInt = Field(64, description="hidden width of a gate")
    attention_width: PositiveInt = Field(64, description="width of the branch's own query, key and value")
    head_width: PositiveInt = Field(32, description="width of one head; divides attention_width")


class TrainConfig(_Frozen):
    """One training run: optimiser, schedule, noise, dropout, what trains and when it is saved."""

    steps: PositiveInt = Field(description="optimiser updates")
    batch_size: PositiveInt = Field(description="clips an update")
    lr: float = Field(gt=0, lt=1, description="peak learning rate of AdamW")
    warmup_steps: int = Field(ge=0, description="updates of linear warmup; cosine to zero follows")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="global norm to which gradients are clipped")
    seed: int = Field(0, ge=0, description="every draw of the run derives from it")
    flow_shift: float = Field(3.0, gt=0, description="sigma shift of flow matching; 1 draws sigma uniformly")
    text_dropout: float = Field(0.1, ge=0, lt=1, description="share of clips trained with the empty caption")
    face_dropout: float = Field(0.1, ge=0, lt=1, description="share of clips trained with the null face tokens")
    trainable: Trainable = Field(description="adapter alone, adapter and LoRA on the base, or everything")
    lora_rank: PositiveInt = Field(16, description="rank of LoRA where it trains")
    lora_alpha: PositiveInt = Field(16, description="LoRA's scale times its rank")
    checkpoint_every: PositiveInt = Field(description="updates between two states from which a killed run goes on")
    log_every: PositiveInt = Field(description="updates between two reports")
    fixed_triples: PositiveInt = Field(64, description="fixed (clip, noise, sigma) triples that judge the run")


class Preset(_Frozen):
    """All that fixes a run beside its data and its base."""

    name: str = Field(description="the preset's own name; a changed copy keeps it")
    clip: ClipSize
    fusion: FusionConfig
    train: TrainConfig


_TINY = Preset(
    name="tiny",
    clip=ClipSize(frames=9, height=64, width=64),
    fusion=FusionConfig(),
    # The tiny base is random: unless everything trains, there is nothing for the face branch to steer.
    train=TrainConfig(
        steps=120,
        batch_size=2,
        lr=5e-3,
        warmup_steps=10,
        trainable="all",
        checkpoint_every=30,
        log_every=10,
    ),
)

PRESETS = {preset.name: preset for preset in (_TINY,)}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset is named {name!r}: choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
