"""What several of `lafid`'s commands are told alike.

Belongs here: such options, and the settings that follow from them. Not here: options of one command.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lafid_assets.cli.display import CONSOLE
from model.release.drawing_settings import DrawingSettings
from resources.settings import Settings

Home = Annotated[Path | None, typer.Option(help="Where state lives; default $LAFID_HOME, else .lafid/ in the checkout.")]


def _alone(asked: bool) -> bool:
    """The object alone goes to stdout: progress, notes and warnings go to stderr."""
    CONSOLE.stderr = asked
    return asked


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_alone, help="JSON alone on stdout, in one line; everything else that is said goes to stderr."
    ),
]


def settings_of(home: Path | None) -> Settings:
    """The installation in `home`, for this process and its children."""
    if home is not None:
        os.environ["LAFID_HOME"] = str(home)  # for the children, and for where the traceback goes
    # Read when torch loads, here and in children: threads that spin while they wait starve each other on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return Settings.from_environment()


@dataclass(frozen=True)
class ModelOptions:
    """What every command that loads a model is told of the machine and of how the model computes.

    Attributes:
        base_dir: the base's folder, where it neither travels with the model nor was adopted into the store.
    """

    settings: Settings
    drawing: DrawingSettings
    base_dir: Path | None


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `_model_options` in place of its parameter `how`, which is made of them."""
    own = [one for one in inspect.signature(command).parameters.values() if one.name != "how"]
    options = inspect.signature(_model_options).parameters

    def run(**told: Any) -> None:
        how = _model_options(**{name: told.pop(name) for name in options})  # before anything can fail: a traceback goes home
        command(**told, how=how)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *options.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*own, *options.values())}
    return run


def _model_options(
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Of transformers and text encoder; the training's when left out."),
    ] = None,
    low_memory: Annotated[
        bool, typer.Option("--low-memory", help="For small cards: parts wait on the CPU, the VAE works in tiles.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the GPU where there is one when left out.")] = None,
    base: Annotated[Path | None, typer.Option(help="The base's folder, where it was not adopted into the store.")] = None,
    semantic_encoder: Annotated[
        Path | None, typer.Option(help="A CLIP, SigLIP or DINOv2's folder, where the preset wants one.")
    ] = None,
    home: Home = None,
) -> ModelOptions:
    drawing = DrawingSettings(precision=precision, low_memory=low_memory, device=device, semantic_dir=semantic_encoder)
    return ModelOptions(settings_of(home), drawing, base)
