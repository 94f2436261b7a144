"""The frozen bases as typed Python: enough of each to build its transformer without its weights, and where those lie.

Belongs here: diffusers' own configs and each base's sizes. Not here: what is trained on top (`presets`), and anything that
loads torch (Dagster's definitions read these types).

Configs: Wan-AI/*-Diffusers on Hugging Face, transformer/config.json.
"""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from model.strict import StrictModel

Layout = Literal["t2v", "i2v", "ti2v", "vace"]
"""What the transformer is given beside noise: nothing; a first frame as further channels; a first frame as its clean first
latent; a control video."""
FIRST_FRAME_LAYOUTS: frozenset[Layout] = frozenset({"i2v", "ti2v"})
"""Those that can be given a first frame; i2v always is."""


class WanConfig(StrictModel):
    """The arguments of diffusers' `WanTransformer3DModel` that differ between bases, by diffusers' own names."""

    num_attention_heads: PositiveInt
    attention_head_dim: PositiveInt = 128
    in_channels: PositiveInt = 16
    out_channels: PositiveInt = 16
    text_dim: PositiveInt = 4096
    freq_dim: PositiveInt = 256
    ffn_dim: PositiveInt
    num_layers: PositiveInt
    image_dim: PositiveInt | None = None
    added_kv_proj_dim: PositiveInt | None = None
    rope_max_seq_len: PositiveInt = 1024
    vace_layers: tuple[int, ...] | None = Field(None, description="blocks with a VACE block beside them; None: no VACE")
    vace_in_channels: PositiveInt | None = None

    @property
    def width(self) -> int:
        """Inner width of a block."""
        return self.num_attention_heads * self.attention_head_dim

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for diffusers' class."""
        given = self.model_dump(exclude=set() if self.vace_layers else {"vace_layers", "vace_in_channels"})
        return given | ({"vace_layers": list(self.vace_layers)} if self.vace_layers else {})


_MOST_PIXELS_OF_480P = 600_000
"""480 x 832 are 399,360 pixels, 704 x 1248 are 878,592."""


class BaseSpec(StrictModel):
    """One base.

    `revision` is the commit that is fetched. It is None where the project has not been run against a fetched snapshot: the
    commit is then chosen by whoever fetches it and recorded by `adopt.adopt_base` together with the hash of all files.
    """

    name: str
    layout: Layout
    repository: str | None = Field(None, description="owner/name on Hugging Face; None: built here, travels with its model")
    revision: str | None = Field(None, description="commit of the repository; None: the one that was adopted")
    transformer: WanConfig
    experts: Literal[1, 2] = Field(1, description="transformers: one, or one for high and one for low noise")
    boundary: float | None = Field(None, gt=0, lt=1, description="sigma from which on the first of two experts draws")
    latent_channels: PositiveInt = 16
    spatial_factor: PositiveInt = Field(8, description="pixels a latent spans")
    temporal_factor: PositiveInt = Field(4, description="frames a latent frame holds, the first frame aside")
    patch: PositiveInt = Field(2, description="latents a token spans along either side")
    flow_shift_480p: float = Field(3.0, gt=0, description="sigma shift up to 480p, as the base was made to draw")
    flow_shift_720p: float = Field(5.0, gt=0, description="the same from 720p on")

    def flow_shift(self, height_px: int, width_px: int) -> float:
        """Sigma shift of videos of this size, in training as in drawing."""
        return self.flow_shift_720p if height_px * width_px > _MOST_PIXELS_OF_480P else self.flow_shift_480p


_1B = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
_14B = {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}
_TINY = WanConfig(
    num_attention_heads=4,
    attention_head_dim=48,
    in_channels=48,
    out_channels=48,
    text_dim=64,
    freq_dim=64,
    ffn_dim=384,
    num_layers=2,
    rope_max_seq_len=128,
)

TINY = BaseSpec(name="tiny", layout="ti2v", transformer=_TINY, latent_channels=48, spatial_factor=4, temporal_factor=1)
TINY_TWO_EXPERTS = TINY.model_copy(update={"name": "tiny-two-experts", "experts": 2, "boundary": 0.9})

WAN21_T2V_1B = BaseSpec(
    name="wan2.1-t2v-1.3b", layout="t2v", repository="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", transformer=WanConfig(**_1B)
)
WAN21_T2V_14B = BaseSpec(
    name="wan2.1-t2v-14b", layout="t2v", repository="Wan-AI/Wan2.1-T2V-14B-Diffusers", transformer=WanConfig(**_14B)
)
WAN21_I2V_14B = BaseSpec(
    name="wan2.1-i2v-14b",
    layout="i2v",
    repository="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    transformer=WanConfig(**_14B, in_channels=36, image_dim=1280, added_kv_proj_dim=5120),
)
WAN21_I2V_14B_720P = WAN21_I2V_14B.model_copy(
    update={"name": "wan2.1-i2v-14b-720p", "repository": "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"}
)
WAN22_TI2V_5B = BaseSpec(
    name="wan2.2-ti2v-5b",
    layout="ti2v",
    repository="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    transformer=WanConfig(num_attention_heads=24, ffn_dim=14336, num_layers=30, in_channels=48, out_channels=48),
    latent_channels=48,
    spatial_factor=16,
    flow_shift_480p=5.0,
)
WAN22_I2V_A14B = BaseSpec(
    name="wan2.2-i2v-a14b",
    layout="i2v",
    repository="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    transformer=WanConfig(**_14B, in_channels=36),
    experts=2,
    boundary=0.9,
    flow_shift_480p=5.0,
)
WAN22_T2V_A14B = BaseSpec(
    name="wan2.2-t2v-a14b",
    layout="t2v",
    repository="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    transformer=WanConfig(**_14B),
    experts=2,
    boundary=0.875,
    flow_shift_480p=12.0,
    flow_shift_720p=12.0,
)
WAN21_VACE_1B = BaseSpec(
    name="wan2.1-vace-1.3b",
    layout="vace",
    repository="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
    transformer=WanConfig(**_1B, vace_layers=tuple(range(0, 30, 2)), vace_in_channels=96),
)
WAN21_VACE_14B = BaseSpec(
    name="wan2.1-vace-14b",
    layout="vace",
    repository="Wan-AI/Wan2.1-VACE-14B-diffusers",
    transformer=WanConfig(**_14B, vace_layers=tuple(range(0, 40, 5)), vace_in_channels=96),
)
