"""`lafid calibrate LABELS.csv`: the threshold curve of a measure against hand labels.

Belongs here: reading, showing, writing the picture. Not here: the curve (`constraints.calibration`).
"""

from pathlib import Path

from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.constraints.calibration import LabelsUnusable, calibrate, read_labels
from lafid_assets.constraints.decision import CLIP_MEASURES
from lafid_assets.constraints.figures import calibration_png
from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.lake import open_lake
from lafid_assets.policy_settings import all_settings
from lafid_assets.schemas import PICTURE_MEASURES, POSE_FILTERED_CLIPS
from model.files import whole_file
from resources.settings import Settings

SHOWN_ROWS = 12
MEASURES = tuple(dict.fromkeys(rule.measure for rule in RULES))


def run_calibrate(settings: Settings, labels: Path, measure: str, out: Path | None) -> None:
    """Show how good each threshold of `measure` would be, and draw it.

    Args:
        labels: CSV with `clip_id` and `label`.
        out: the PNG to write; `calibrate-<measure>.png` in the home when None.

    Raises:
        LabelsUnusable: the file does not serve, or the measure does not exist.
    """
    if measure not in MEASURES:
        raise LabelsUnusable(f"there is no measure {measure!r} to calibrate: choose one of {', '.join(MEASURES)}")
    rule = next(rule for rule in RULES if rule.measure == measure)
    table_name = PICTURE_MEASURES.name if measure in CLIP_MEASURES else POSE_FILTERED_CLIPS.name
    with open_lake(settings, read_only=True).snapshot() as reader:
        measured = reader.read(table_name, columns=["clip_id", measure])
        decided = reader.read(POSE_FILTERED_CLIPS.name, columns=["policy_sha256"])["policy_sha256"]
        current = rule.threshold_in(FacePolicy.model_validate_json(all_settings(reader)[decided[0]])) if len(decided) else None
    result = calibrate(read_labels(labels), measured, measure, higher_is_better=rule.bound != "max")
    table = Table(*result.curve.columns, title=f"{measure} against {labels.name}")
    step = max(1, -(-result.curve.height // SHOWN_ROWS))
    for row in result.curve.gather_every(step).iter_rows():
        table.add_row(*(f"{value:.3g}" for value in row))
    CONSOLE.print(table)
    best = result.best
    CONSOLE.print(
        f"best F1 {best['f1']:.2f} at {best['threshold']:.4g} (precision {best['precision']:.2f}, recall {best['recall']:.2f})"
        + (f"; the policy has {current:g} now" if current is not None else "; the policy has this rule switched off"),
        soft_wrap=True,
    )
    if result.unmeasured or result.unknown:
        first = f", the first {result.unknown[0]}" if result.unknown else ""
        CONSOLE.print(
            f"left out: {result.unmeasured} without the measure, {len(result.unknown)} unknown{first}",
            style="yellow",
            soft_wrap=True,
        )
    target = out or settings.home / f"calibrate-{measure}.png"
    with whole_file(target) as temporary:
        temporary.write_bytes(calibration_png(result, current))
    CONSOLE.print(f"drawn: {target}", soft_wrap=True, markup=False)
