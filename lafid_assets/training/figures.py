"""The loss of a training as a chart, readable in black and white.

Belongs here: curves -> PNG bytes. Not here: where they come from (`resources.tracking`).
"""

from collections.abc import Sequence

import numpy as np

from lafid_assets.constraints.figures import png_of

Curve = Sequence[tuple[int, float]]
"""(step, value), in the order of steps."""
WINDOW = 9
"""Reports over which the running median is taken: one batch's loss says little."""


def loss_png(loss: Curve, validation_loss: Curve) -> bytes:
    """The loss of single batches with its running median, and that of every judged checkpoint with the best one marked.

    Args:
        loss: of the reports.
        validation_loss: of the judged checkpoints; none where none were judged.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    if loss:
        steps, values = zip(*loss, strict=True)
        axes.plot(steps, values, ".", color="0.7", markersize=3, label="a batch")
        axes.plot(steps, _running_median(values), color="black", linewidth=1, label=f"median of {WINDOW} reports")
    if validation_loss:
        steps, values = zip(*validation_loss, strict=True)
        axes.plot(steps, values, "--s", color="0.35", markersize=4, linewidth=0.8, label="judged checkpoint")
        best = int(np.argmin(values))
        axes.plot(
            steps[best], values[best], "o", color="black", markersize=10, fillstyle="none", label=f"best: step {steps[best]}"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("flow loss")
    if loss or validation_loss:
        axes.legend(fontsize=8)
    return png_of(figure)


def _running_median(values: Sequence[float]) -> list[float]:
    half = WINDOW // 2
    return [float(np.median(values[max(0, index - half) : index + half + 1])) for index in range(len(values))]
