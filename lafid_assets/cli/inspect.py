"""`lafid inspect`: what a registered model does with a face, as two pictures. Needs no Dagster.

Belongs here: pulling, running, drawing, saying where the pictures lie. Not here: what is measured (`model.release.inspection`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.generate import VideoRequest, face_choice, pull_model
from lafid_assets.cli.options import ModelOptions
from lafid_assets.constraints.figures import chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from model.release.inspection import Activations, GateWeights

_SWEEP_DEG = range(-75, 76, 15)
_ELEMENTS = 64
"""Most elements of the dictionary that are drawn: those whose activation differs most between the poses."""


def run_inspect(how: ModelOptions, model: str, request: VideoRequest, out: Path) -> None:
    """Draw one video. Write into `out` what the gates said, and which dictionary elements the photos' poses activate."""
    from model.encoding.picture import read_picture

    photos = [read_picture(path) for path in request.photos]
    picture = None if request.image is None else read_picture(request.image)
    shown = photos or [one for one in (picture,) if one is not None]
    pipeline = pull_model(how, model)
    from model.face_branch.experts import EXPERTS
    from model.release.inspection import dictionary_activations, gate_weights, pose_sweep

    choose = face_choice(request.face)
    with working("drawing a video and reading its gates"):
        read = gate_weights(
            pipeline,
            picture,
            request.prompt,
            photos=photos,
            num_frames=request.frames,
            steps=request.steps,
            seed=request.seed,
            choose=choose,
        )
    for number, gates in enumerate(read):
        suffix = f"_{number + 1}" if len(read) > 1 else ""
        _save(gate_figure(gates, EXPERTS), out / f"gates{suffix}.png")
        for name, mean in zip(EXPERTS, gates.by_layer.mean(axis=0), strict=True):
            CONSOLE.print(f"  {name:9} {mean:.3f} of the face branch, mean over layers and steps")
    if pipeline.model.fusion.config.aligner is None:
        CONSOLE.print("the model has no pose-shared aligner: no dictionary to show")
        return
    with working("reading the aligner's dictionary"):
        # One photo has one pose: it is shown as if it were seen from others.
        one = len(shown) == 1
        activations = (
            pose_sweep(pipeline, shown[0], _SWEEP_DEG, choose) if one else dictionary_activations(pipeline, shown, choose)
        )
    _save(
        dictionary_figure(activations, "one photo, said to be seen at each yaw" if one else "the photos"), out / "dictionary.png"
    )


def gate_figure(gates: "GateWeights", experts: tuple[str, ...]) -> "Figure":
    """Layer by expert over the run, and layer by step for each expert; one grey scale from 0 to 1."""
    steps, blocks, _ = gates.weights.shape
    columns = 1 + len(experts)
    figure, (first, *others) = chart(
        3 + 2.6 * len(experts), 1.6 + 0.16 * blocks, 1, columns, width_ratios=(1, *(1.2 for _ in experts))
    )
    scale = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0, "aspect": "auto", "interpolation": "nearest"}
    image = first.imshow(gates.by_layer, **scale)
    first.set_xticks(range(len(experts)), experts, rotation=45, ha="right")
    first.set_ylabel("layer")
    first.set_title("mean over steps")
    marks = np.unique(np.linspace(0, steps - 1, min(steps, 5)).round().astype(int))
    for number, (axes, name) in enumerate(zip(others, experts, strict=True)):
        axes.imshow(gates.weights[:, :, number].T, **scale)
        axes.set_title(name)
        axes.set_xlabel("timestep")
        axes.set_xticks(marks, [f"{gates.timesteps[mark]:.0f}" for mark in marks])
    for axes in (first, *others):
        axes.set_yticks(range(0, blocks, max(1, blocks // 10)))
    figure.colorbar(image, ax=[first, *others], label="weight of the expert")
    return figure


def dictionary_figure(activations: "Activations", of: str) -> "Figure":
    """Faces by yaw against the elements whose activation differs most among them, each scaled to its own maximum."""
    posed = activations.sorted_by_yaw()
    chosen = np.argsort(-posed.weights.std(axis=0), kind="stable")[:_ELEMENTS]
    shown = posed.weights[:, chosen] / posed.weights[:, chosen].max(axis=0, keepdims=True)
    # Elements in the order of the yaw at which they are strongest: what clusters by pose shows as a diagonal.
    shown = shown[:, np.argsort(shown.argmax(axis=0), kind="stable")]
    figure, axes = chart(8, 1.8 + 0.2 * len(shown))
    image = axes.imshow(shown, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(shown)), [f"{yaw:+.0f}" for yaw in posed.angles_deg[:, 0]])
    axes.set_ylabel("yaw, degrees")
    axes.set_xlabel(f"the {shown.shape[1]} of {posed.weights.shape[1]} elements that differ most")
    axes.set_title(f"dictionary activations by pose: {of}")
    figure.colorbar(image, ax=axes, label="of the element's maximum")
    return figure


def _save(figure: "Figure", path: Path) -> None:
    from model.files import whole_file

    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)
    CONSOLE.print(str(path))
