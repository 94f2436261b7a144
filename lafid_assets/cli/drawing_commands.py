"""The commands that take a model: `lafid generate`, `lafid inspect`, `lafid pull` and `lafid serve`.

Belongs here: their signatures. Not here: the work (modules of the same names beside this one).
"""

from pathlib import Path
from typing import Annotated

import typer

from lafid_assets.cli.options import Home, ModelOptions, settings_of, with_model_options

Model = Annotated[str, typer.Option(help="models:/NAME@ALIAS, models:/NAME/VERSION, or the folder of a checkpoint.")]
ModelToTake = Annotated[str, typer.Argument(metavar="MODEL", help="As for --model of `lafid generate`.")]
FirstFrame = Annotated[
    Path | None, typer.Option(help="The first frame, cut to the video's aspect; without photos, the face too.")
]
Steps = Annotated[int, typer.Option(min=1, help="Denoising steps.")]
Guidance = Annotated[float, typer.Option(help="How strongly the text counts; 1 switches guidance off.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same frames.")]
Face = Annotated[str, typer.Option(help="Which face of every picture: only, largest, or a number from 0 (the largest).")]


@with_model_options
def generate(
    out: Annotated[Path, typer.Option(help="The mp4 to write; with --prompts the folder.")],
    prompt: Annotated[str | None, typer.Option(help="What happens in the video.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A file of many: a line each; as .jsonl with prompt, negative_prompt, seed, name.")
    ] = None,
    image: FirstFrame = None,
    photo: Annotated[
        list[Path] | None, typer.Option(help="Of the person; repeatable. Without an image the first frame is drawn.")
    ] = None,
    model: Model = "models:/lafid@champion",
    negative_prompt: Annotated[str | None, typer.Option(help="What shall not be seen.")] = None,
    steps: Steps = 20,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames; the model's own number when left out.")] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Pixels; alone, the width follows. Of neither: the model's own area.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Pixels; alone, the height follows.")] = None,
    guidance: Guidance = 3.0,
    face_guidance: Annotated[float, typer.Option(help="How strongly the face counts; 1 is as trained.")] = 1.0,
    seed: Seed = 0,
    face: Face = "only",
    *,
    how: ModelOptions,
) -> None:
    """Pull a model from MLflow and generate a video of the person in the pictures, or one a prompt; goes on where it stopped."""
    from lafid_assets.cli.generate import VideoRequest, run_generate

    if (prompt is None) == (prompts is None):
        raise ValueError("say what happens, either by --prompt or by --prompts, a file of many")
    request = VideoRequest(
        prompt=prompt or "",
        image=image,
        photos=tuple(photo or ()),
        negative_prompt=negative_prompt,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        guidance=guidance,
        face_guidance=face_guidance,
        seed=seed,
        face=face,
    )
    run_generate(how, model, request, out, prompts)


@with_model_options
def opens2v(
    prompts: Annotated[Path, typer.Argument(help="Open-Domain_Eval.json or another of the benchmark, beside its Images.")],
    out: Annotated[Path, typer.Option(help="The folder for videos and score files.")],
    model: Model = "models:/lafid@champion",
    steps: Steps = 20,
    guidance: Guidance = 3.0,
    seed: Seed = 0,
    *,
    how: ModelOptions,
) -> None:
    """Draw OpenS2V-Eval's prompts that ask for one person, and fill the score files that can be; goes on where it stopped."""
    from lafid_assets.cli.generate import VideoRequest
    from lafid_assets.cli.opens2v import run_opens2v

    request = VideoRequest(prompt="", image=None, steps=steps, guidance=guidance, seed=seed, face="largest")
    run_opens2v(how, model, prompts, out, request)


@with_model_options
def inspect(
    image: FirstFrame = None,
    photo: Annotated[list[Path] | None, typer.Option(help="Of the person; several show the dictionary by pose.")] = None,
    prompt: Annotated[str, typer.Option(help="What happens in the video.")] = "",
    model: Model = "models:/lafid@champion",
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("inspection"),
    steps: Steps = 20,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    face: Face = "only",
    *,
    how: ModelOptions,
) -> None:
    """Draw the weight of each face expert by layer and time, and the dictionary elements that a pose activates."""
    from lafid_assets.cli.generate import VideoRequest
    from lafid_assets.cli.inspect import run_inspect

    request = VideoRequest(prompt=prompt, image=image, photos=tuple(photo or ()), steps=steps, seed=seed, face=face)
    run_inspect(how, model, request, out)


def pull(
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write: it does not exist, or is empty.")],
    model: ModelToTake = "models:/lafid@champion",
    home: Home = None,
) -> None:
    """Write a model as a plain folder: LoRA for diffusers and ComfyUI, the face branch with its loader, a card."""
    from lafid_assets.cli.pull import run_pull

    run_pull(settings_of(home), model, to)


@with_model_options
def serve(
    model: ModelToTake = "models:/lafid@champion",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Whoever reaches it can draw: there is no password.")] = "127.0.0.1",
    queue: Annotated[int, typer.Option(min=0, max=1000, help="Requests that may wait while one is drawn.")] = 4,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Seconds until a request ends, the waiting included.")] = 600.0,
    *,
    how: ModelOptions,
) -> None:
    """Draw for others over HTTP: POST /invocations as MLflow's server takes it, one at a time; GET /health."""
    from lafid_assets.cli.serve import run_serve

    run_serve(how, model, host, port, {"queue": queue, "timeout_s": timeout_s})
