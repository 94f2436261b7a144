"""Every number of a training run as typed, frozen Python; a preset is one such object under a name.

Belongs here: sizes, rates, seeds, each with its bounds and one sentence. Not here: the bases (`bases.specs`), and anything
that loads torch (Dagster's definitions read these types).
"""

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from model.bases.specs import (
    FIRST_FRAME_LAYOUTS,
    TINY,
    TINY_TWO_EXPERTS,
    WAN21_I2V_14B,
    WAN21_I2V_14B_720P,
    WAN21_T2V_1B,
    WAN21_T2V_14B,
    WAN21_VACE_1B,
    WAN21_VACE_14B,
    WAN22_I2V_A14B,
    WAN22_T2V_A14B,
    WAN22_TI2V_5B,
    BaseSpec,
)
from model.clip_size import ClipSize
from model.strict import StrictModel

FusionKind = Literal["cofe", "mofe"]
Injection = Literal["narrow", "full"]
AngleEmbedding = Literal["harmonic", "timestep"]
AlignerJoin = Literal["input", "tokens"]
TemporalIndex = Literal["shared", "one_a_view"]
Trainable = Literal["adapter", "adapter_and_cross_attention", "adapter_and_lora", "all"]
Publish = Literal["last", "best", "ema", "best_ema"]
Precision = Literal["float32", "bfloat16"]
ConditionView = Literal["drawn", "frontal", "first_frame"]
Attention = Literal["native", "_native_cudnn", "_native_flash", "_native_math"]

TEXT_ROWS = 512
"""Rows of text Wan was trained with; diffusers hard-codes them and masks none, so shorter text is padded with zeros."""
CLIP_IMAGE_ROWS = 257
"""Rows that Wan2.1's image branch reads of the first frame: CLIP ViT-H/14 at 224 px."""


class AlignerConfig(StrictModel):
    """The pose-shared aligner (FaithfulFaces): what a face says of its person whatever its pose."""

    dictionary: PositiveInt = Field(4096, description="learned elements that all poses share (the paper's number)")
    width: PositiveInt = Field(512, description="width of an element, and of the aligner's tokens")
    angle_embedding: AngleEmbedding = Field("harmonic", description="harmonic: periodic; timestep: the paper's, which is not")
    frequencies: PositiveInt = Field(8, description="sines, and as many cosines, of each Euler angle")
    joins: AlignerJoin = Field("input", description="its output joins the embedded noisy video, or the fused face tokens")
    normalised: bool = Field(True, description="its output's numbers are of size 1 where it joins; False: as it comes, faint")
    detach: bool = Field(True, description="the flow loss does not train the aligner; the contrastive loss alone does")
    pairs: PositiveInt = Field(1024, description="most pairs of views in a contrastive batch (the paper's number)")
    least_gap_deg: float = Field(20.0, ge=0, le=180, description="geodesic angle between the poses of a pair, at least")
    chunk: PositiveInt = Field(64, description="views whose correlation with the dictionary is in memory at a time")
    loss_weight: float = Field(1.0, gt=0, description="of the contrastive loss beside the flow loss")


class ReferenceConfig(StrictModel):
    """Further views of the face as clean tokens at the end of the sequence (Mv2ID).

    Mv2ID trains in pairs within a clip: references are views of the clip itself, masked so that they are not copied. Pairs
    across clips of a person are rare (under 5 % of its footage) and none by default. `cross_share` draws among all other clips
    of the person in the training set; the dataset's column `cross_references` lists up to eight of the same for other trainers.
    """

    views: PositiveInt = Field(3, description="views of a training clip")
    masked_share: float = Field(0.6, ge=0, lt=1, description="of each view's tokens, hidden (the paper's lead)")
    rank: PositiveInt = Field(128, description="of the projection by which a block adds what it reads of them")
    temporal_index: TemporalIndex = Field("shared", description="one place in time for all views (the paper's), or one a view")
    cross_share: float = Field(0.0, ge=0, le=1, description="of clips shown views of another clip of their person, if any")


class FusionConfig(StrictModel):
    """The adapter: three experts, fused and read in every block, and the parts that join them."""

    kind: FusionKind = Field("cofe", description="cofe: a gate a block (paper v3); mofe: one gate for the network (v1)")
    time_aware: bool = Field(False, description="gates see the timestep too; a fresh one does not use it")
    injection: Injection = Field("narrow", description="narrow: a width of its own; full: the width and heads of the block")
    tokens: PositiveInt = Field(4, description="tokens every expert is projected to")
    token_width: PositiveInt = Field(64, description="width of those tokens")
    gate_width: PositiveInt = Field(64, description="hidden width of a gate")
    attention_width: PositiveInt = Field(64, description="width of the narrow branch's query, key and value")
    head_width: PositiveInt = Field(32, description="width of one narrow head; divides attention_width")
    resampler_layers: PositiveInt = Field(2, description="how often the semantic and detail experts' queries look")
    resampler_heads: PositiveInt = Field(2, description="of each of these looks; divides token_width")
    aligner: AlignerConfig | None = Field(None, description="the pose-shared aligner; None: without")
    references: ReferenceConfig | None = Field(None, description="multi-view references; None: without")

    @model_validator(mode="after")
    def _heads_divide_their_widths(self) -> Self:
        if self.attention_width % self.head_width:
            raise ValueError(f"attention_width {self.attention_width} is no multiple of head_width {self.head_width}")
        if self.token_width % self.resampler_heads or self.token_width % 4:
            raise ValueError(f"token_width {self.token_width} is no multiple of 4 and of resampler_heads {self.resampler_heads}")
        return self


class FeatureShapes(StrictModel):
    """What the frozen encoders give of one face; the table of presets counts with these, training with what it is given."""

    identity_width: PositiveInt = Field(512, description="ArcFace")
    semantic_tokens: PositiveInt = Field(257, description="CLIP ViT-H/14 at 224 px")
    semantic_width: PositiveInt = Field(1280, description="CLIP ViT-H/14")
    detail_tokens: PositiveInt = Field(1024, description="VAE latents of the crop")
    detail_width: PositiveInt = Field(16, description="channels of the VAE")


class EncoderConfig(StrictModel):
    """Which frozen encoders speak for the semantic and the detail expert; identity is the face engine's embedding."""

    semantic: Literal["base", "folder"] = Field("base", description="the base's own CLIP, or a CLIP, SigLIP or DINOv2 given")
    semantic_layer: int = Field(-2, description="which of its hidden states; -2 as Wan2.1's own image branch takes it")
    detail: Literal["latents", "vision"] = Field("latents", description="the VAE's latents, or a shallow hidden state")
    detail_side_px: PositiveInt = Field(64, description="pixels a side of the crop that the VAE sees")
    detail_layer: int = Field(4, description="which hidden state, where detail is `vision`")


class Stage(StrictModel):
    """An early part of a run, on short clips: attention costs the square of their length."""

    until_step: PositiveInt = Field(description="the first update that it no longer holds for, counted from 0")
    frames: PositiveInt = Field(description="most frames of a clip; longer ones are cut in time")


class TrainConfig(StrictModel):
    """One training run: optimiser, schedule, noise, dropout, what trains, how it computes and when it is saved."""

    steps: PositiveInt = Field(description="optimiser updates")
    batch_size: PositiveInt = Field(description="clips an update, over all forwards and all processes")
    forward_clips: PositiveInt | None = Field(None, description="most clips a forward; None: a process's share at once")
    lr: float = Field(gt=0, lt=1, description="peak learning rate of what begins fresh: the adapter, LoRA")
    aligner_lr: float = Field(
        5e-4, gt=0, lt=1, description="of the pose-shared aligner, which has a loss of its own (CLIP's rate)"
    )
    base_lr: float | None = Field(None, gt=0, lt=1, description="of the base's own weights, where some of them train")
    warmup_steps: int = Field(ge=0, description="updates of linear warmup; cosine to zero follows")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="norm to which a gradient is clipped, the aligner's on its own")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of the trained tensors' moving average; None: without")
    seed: int = Field(0, ge=0, description="every draw of the run derives from it")
    curriculum: tuple[Stage, ...] = Field((), description="short clips first, stage after stage; whole clips after the last")
    condition_view: ConditionView = Field(
        "drawn", description="whose face conditions: of the spread views any, the most frontal one, or the first frame's (CoFE)"
    )
    joint_dropout: float = Field(0.07, ge=0, le=0.5, description="share of clips without words, face and references at once")
    text_dropout: float = Field(0.1, ge=0, lt=1, description="share of the other clips trained with the empty caption")
    speech_dropout: float = Field(0.1, ge=0, le=1, description="share of captions without their sentence on who speaks")
    face_dropout: float = Field(0.1, ge=0, lt=1, description="share of the other clips trained with the null face tokens")
    reference_dropout: float = Field(0.1, ge=0, lt=1, description="share of the other clips trained with null references")
    first_frame_dropout: float = Field(0.0, ge=0, le=1, description="share of batches whose first frame is drawn, not given")
    face_loss_weight: float = Field(1.0, ge=1, description="of an error inside the face's box, one elsewhere; 1: all alike")
    trainable: Trainable = Field(description="the adapter, and of the base: nothing, cross-attention, LoRA, everything")
    lora_rank: PositiveInt = Field(16, description="rank of LoRA where it trains")
    lora_alpha: PositiveInt = Field(16, description="LoRA's scale times its rank")
    precision: Precision = Field("float32", description="of the frozen base and of what blocks compute; float32 trains")
    gradient_checkpointing: float = Field(0.0, ge=0, le=1, description="share of the blocks, the first ones, computed twice")
    compile_blocks: bool = Field(False, description="the blocks are compiled, once for all of them")
    attention: Attention = Field("native", description="diffusers' name of the attention kernel; native: torch chooses")
    shard_base: bool = Field(False, description="processes share the frozen weights of the blocks among themselves (FSDP2)")
    offload_base: bool = Field(False, description="those weights wait in host memory, and come to the GPU block by block")
    deterministic: bool = Field(False, description="kernels that give the same bits again, on a GPU at some cost")
    checkpoint_every: PositiveInt = Field(description="updates between two states from which a killed run goes on")
    checkpoint_minutes: float | None = Field(15, gt=0, description="minutes without a state after which one is saved, too")
    keep_states: PositiveInt = Field(2, description="states that are kept, the newest")
    validate_every: PositiveInt | None = Field(None, description="updates between two judged checkpoints; None: the last alone")
    keep_checkpoints: PositiveInt = Field(2, description="judged checkpoints that are kept, the newest; the best is, too")
    log_every: PositiveInt = Field(description="updates between two reports")
    fixed_triples: PositiveInt = Field(64, description="fixed (clip, noise, sigma) triples that judge the run")
    publish: Publish = Field("last", description="the checkpoint handed on: the last or the best, as trained or averaged (ema)")

    @model_validator(mode="after")
    def _has_a_rate_for_what_trains_of_the_base(self) -> Self:
        if self.trainable in ("adapter_and_cross_attention", "all") and self.base_lr is None:
            raise ValueError(f"with trainable {self.trainable} weights of the base train: set train.base_lr, their own rate")
        return self

    @field_validator("curriculum")
    @classmethod
    def _one_stage_after_the_other(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        ends = [stage.until_step for stage in stages]
        if ends != sorted(set(ends)):
            raise ValueError(f"stages end at steps {ends}: let each end after the one before it")
        return stages

    @model_validator(mode="after")
    def _publishes_what_there_will_be(self) -> Self:
        if self.publish in ("ema", "best_ema") and self.ema_decay is None:
            raise ValueError(f"publish is {self.publish}, but nothing is averaged: set ema_decay, or publish last or best")
        if self.publish in ("best", "best_ema") and self.validate_every is None:
            raise ValueError(
                f"publish is {self.publish}, but no checkpoint is judged: set validate_every, or publish last or ema"
            )
        return self

    @property
    def rounds_base(self) -> bool:
        """Whether the base lies in bfloat16. Where everything trains, rounding it first would train something else."""
        return self.precision == "bfloat16" and self.trainable != "all"

    def most_frames(self, step: int) -> int | None:
        """The frames that clips are cut to in update number `step`; None: clips stay whole."""
        return next((stage.frames for stage in self.curriculum if step < stage.until_step), None)


class Preset(StrictModel):
    """All that fixes a run beside its data and its base's weights."""

    name: str = Field(description="the preset's own name; a changed copy keeps it")
    base: BaseSpec
    features: FeatureShapes = FeatureShapes()
    encoders: EncoderConfig = EncoderConfig()
    clip: ClipSize
    fusion: FusionConfig
    train: TrainConfig

    def of_training(self) -> dict[str, Any]:
        """Every setting that a training depends on, as JSON has it: not when it is saved, nor what of it is published."""
        return self.model_dump(
            mode="json", exclude={"train": {"publish", "checkpoint_every", "checkpoint_minutes", "keep_states"}}
        )

    @model_validator(mode="after")
    def _gives_a_first_frame_as_the_base_takes_it(self) -> Self:
        layout, share = self.base.layout, self.train.first_frame_dropout
        needed = 0.0 if layout == "i2v" else 1.0
        if layout != "ti2v" and share != needed:
            raise ValueError(
                f"base {self.base.name} of layout {layout} is {'never' if needed else 'always'} given a first frame: "
                f"set train.first_frame_dropout to {needed:g}, not {share:g}"
            )
        return self

    @model_validator(mode="after")
    def _stages_leave_frames_to_draw(self) -> Self:
        least = self.base.temporal_factor + 1
        if self.base.layout == "ti2v" and any(stage.frames < least for stage in self.train.curriculum):
            raise ValueError(f"a stage of fewer than {least} frames is the frame that a ti2v base is given: take more")
        return self


_TINY = Preset(
    name="tiny",
    base=TINY,
    features=FeatureShapes(identity_width=128, semantic_tokens=65, semantic_width=64, detail_tokens=256, detail_width=48),
    clip=ClipSize(frames=9, height=64, width=64),
    fusion=FusionConfig(
        time_aware=True,
        aligner=AlignerConfig(dictionary=64, width=32, pairs=8, chunk=4),
        references=ReferenceConfig(views=2, rank=16),
    ),
    # The tiny base is random: unless everything trains, there is nothing for the face branch to steer.
    train=TrainConfig(
        steps=48,
        batch_size=2,
        lr=5e-3,
        aligner_lr=5e-3,
        base_lr=5e-3,
        warmup_steps=10,
        first_frame_dropout=0.2,
        ema_decay=0.95,
        trainable="all",
        checkpoint_every=20,
        log_every=10,
        fixed_triples=16,
    ),
)

_DETAIL_PX = 512
_ENCODERS = EncoderConfig(semantic="folder", detail_side_px=_DETAIL_PX)
# 57 % of OpenHumanVid's clips last 2 to 4 seconds: the shorter lengths take those from 2, 3 and 4 seconds on.
_480P = ClipSize(
    frames=81, height=480, width=832, fps=16, shorter_frames=(29, 45, 61), shapes=((832, 480), (624, 624)), view_side=256
)
_704P = ClipSize(
    frames=81, height=704, width=1248, fps=24, shorter_frames=(45, 69), shapes=((1248, 704), (928, 928)), view_side=256
)
_720P = ClipSize(
    frames=81, height=720, width=1280, fps=16, shorter_frames=(29, 45, 61), shapes=((1280, 720), (960, 960)), view_side=256
)
_WIDE = FusionConfig(tokens=32, token_width=1024, gate_width=512, attention_width=512, head_width=64, resampler_heads=16)
_LORA = TrainConfig(
    steps=20_000,
    batch_size=32,
    lr=1e-4,
    warmup_steps=500,
    ema_decay=0.999,
    trainable="adapter_and_lora",
    lora_rank=128,
    lora_alpha=128,
    forward_clips=1,
    precision="bfloat16",
    gradient_checkpointing=1.0,
    compile_blocks=True,
    checkpoint_every=500,
    validate_every=1000,
    log_every=20,
)
# CoFE v3's figure: cross-attention trains, self-attention and feed-forward do not. DiffSynth's rate for full weights.
_CROSS_ATTENTION = _LORA.model_copy(update={"trainable": "adapter_and_cross_attention", "base_lr": 1e-5})


def _wan(base: BaseSpec, clip: ClipSize = _480P, train: TrainConfig = _LORA, name: str | None = None, **parts: object) -> Preset:
    features = FeatureShapes(detail_width=base.latent_channels, detail_tokens=(_DETAIL_PX // base.spatial_factor) ** 2)
    return Preset(
        name=name or base.name,
        base=base,
        features=features,
        encoders=_ENCODERS,
        clip=clip,
        fusion=_WIDE.model_copy(update=parts),
        train=train if base.layout in FIRST_FRAME_LAYOUTS else train.model_copy(update={"first_frame_dropout": 1.0}),
    )


PRESETS = {
    preset.name: preset
    for preset in (
        _TINY,
        _TINY.model_copy(update={"name": TINY_TWO_EXPERTS.name, "base": TINY_TWO_EXPERTS}),
        _wan(WAN21_T2V_1B),
        # Mv2ID's base is a 14B text-to-video model.
        _wan(WAN21_T2V_14B, references=ReferenceConfig()),
        _wan(WAN21_T2V_14B, clip=_720P, name="wan2.1-t2v-14b-720p", references=ReferenceConfig()),
        _wan(WAN21_I2V_14B),
        _wan(WAN21_I2V_14B_720P, clip=_720P),
        _wan(WAN22_TI2V_5B, clip=_704P, train=_CROSS_ATTENTION),
        _wan(WAN22_I2V_A14B),
        _wan(WAN22_I2V_A14B, clip=_720P, name="wan2.2-i2v-a14b-720p"),
        _wan(WAN22_T2V_A14B, references=ReferenceConfig()),
        _wan(WAN22_T2V_A14B, clip=_720P, name="wan2.2-t2v-a14b-720p", references=ReferenceConfig()),
        _wan(WAN21_VACE_1B),
        # FaithfulFaces: VACE-14B, LoRA of rank 128, dictionary of 4096.
        _wan(WAN21_VACE_14B, aligner=AlignerConfig()),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset is named {name!r}: choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
