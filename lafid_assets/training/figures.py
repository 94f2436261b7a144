"""Loss and likeness of a training as a chart, readable in black and white.

Belongs here: curves -> PNG bytes. Not here: where they come from (`resources.tracking`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lafid_assets.constraints.figures import chart, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Sequence[tuple[int, float]]
"""(step, value), in the order of steps."""
WINDOW = 9
"""Reports over which the running median is taken: one batch's loss says little."""


def training_png(
    loss: Curve, validation_loss: Curve, likeness: Curve, averaged_likeness: Curve, *, best_step: int | None
) -> bytes:
    """The loss of single batches with its running median and that of the judged checkpoints; below it, where any was measured,
    their likeness.

    Args:
        loss: of the reports.
        validation_loss: of the judged checkpoints.
        likeness, averaged_likeness: of the judged checkpoints as trained, and of the moving average.
        best_step: of the best checkpoint as trained, which is marked on the curve that decided.
    """
    rows = 2 if likeness or averaged_likeness else 1
    figure, panels = chart(6, 2.8 * rows, rows, sharex=True, squeeze=False)
    axes, *below = panels[:, 0]
    if loss:
        steps, values = zip(*loss, strict=True)
        axes.plot(steps, values, ".", color="0.7", markersize=3, label="a batch")
        axes.plot(steps, _running_median(values), color="black", linewidth=1, label=f"median of {WINDOW} reports")
    _draw_judged(axes, validation_loss, "--s", "judged checkpoint", None if below else best_step)
    axes.set_ylabel("flow loss")
    for under in below:
        _draw_judged(under, likeness, "-s", "judged checkpoint", best_step)
        _draw_judged(under, averaged_likeness, ":^", "its moving average", None)
        under.set_ylabel("likeness")
        under.legend(fontsize=8)
    if loss or validation_loss:
        axes.legend(fontsize=8)
    figure.axes[-1].set_xlabel("step")
    return png_of(figure)


def _draw_judged(axes: "Axes", curve: Curve, style: str, label: str, best_step: int | None) -> None:
    if not curve:
        return
    steps, values = zip(*curve, strict=True)
    axes.plot(steps, values, style, color="0.35", markersize=4, linewidth=0.8, label=label)
    if best_step is not None and best_step in steps:
        best = values[steps.index(best_step)]
        axes.plot(best_step, best, "o", color="black", markersize=10, fillstyle="none", label=f"best: step {best_step}")


def _running_median(values: Sequence[float]) -> list[float]:
    half = WINDOW // 2
    return [float(np.median(values[max(0, index - half) : index + half + 1])) for index in range(len(values))]
