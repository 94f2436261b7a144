"""diffusers' own Wan pipelines over a base's components, with our stand-ins for its transformers.

Belongs here: which of them draws what, their memory settings, their quirks. Not here: what is drawn (`release.pipeline`), the
components (`base`).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin, WanPipeline, WanVACEPipeline
from torch import nn

from model.bases.base import Base


def stock_pipeline(
    base: Base, denoisers: Sequence[nn.Module], *, first_frame: bool, offload_to: torch.device | None
) -> DiffusionPipeline:
    """Image to video where there is a first frame, else VACE on a base of that layout, else text to video.

    Args:
        base: all but the transformers.
        denoisers: one for each of the base's transformers, with its interface.
        first_frame: whether a first frame will be given.
        offload_to: components wait on the CPU and take turns there; None: they stay where they are.
    """
    components: dict[str, Any] = {
        "tokenizer": base.tokenizer,
        "text_encoder": base.text_encoder,
        "vae": base.codec,
        "scheduler": base.scheduler,
        "transformer": denoisers[0],
        "transformer_2": denoisers[1] if len(denoisers) > 1 else None,
        "boundary_ratio": base.info.boundary,
    }
    if first_frame:
        pipeline = base.image_to_video(*denoisers)
    elif base.info.layout == "vace":
        pipeline = WanVACEPipeline(**components)
    else:
        pipeline = WanPipeline(**components, expand_timesteps=base.info.layout == "ti2v")
    pipeline.set_progress_bar_config(disable=True)
    if offload_to is not None:
        pipeline.enable_model_cpu_offload(device=offload_to)
    return pipeline


def with_flow_shift(base: Base, shift: float) -> Base:
    """The same base with a scheduler of its kind that draws with this sigma shift."""
    kind, name = type(base.scheduler), flow_shift_name(base.scheduler)
    return replace(base, scheduler=kind.from_config(base.scheduler.config, **{name: shift}))


def flow_shift_name(scheduler: SchedulerMixin) -> str:
    """What a scheduler of its kind calls its sigma shift."""
    return "flow_shift" if "flow_shift" in scheduler.config else "shift"


def frames_to_ask(base: Base, frames: int) -> int:
    """What makes a stock pipeline draw `frames`, whose number must be legal.

    At a temporal factor of 1 its rounding (frames // factor * factor + 1) adds a frame.
    """
    return frames if base.codec.config.scale_factor_temporal > 1 else frames - 1


def reporting(on_step: Callable[[int, int], None] | None, steps: int) -> Callable[..., dict[str, Any]] | None:
    """`on_step(done, steps)` as diffusers calls back."""
    if on_step is None:
        return None

    def report(_pipeline: DiffusionPipeline, step: int, _timestep: torch.Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, steps)
        return kwargs

    return report


@contextmanager
def without_rounding_warning() -> Iterator[None]:
    """Sizes are checked before; diffusers still warns of rounding to where it already is."""

    def unrelated(record: logging.LogRecord) -> bool:
        return "`num_frames - 1` has to be divisible" not in record.getMessage()

    with ExitStack() as filters:
        for name in ("pipeline_wan", "pipeline_wan_i2v", "pipeline_wan_vace"):
            logger = logging.getLogger(f"diffusers.pipelines.wan.{name}")
            logger.addFilter(unrelated)
            filters.callback(logger.removeFilter, unrelated)
        yield
