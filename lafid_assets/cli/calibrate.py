"""`lafid calibrate [LABELS.csv]`: the threshold curve of a measure against hand labels, or against the marks of the review page.

Belongs here: reading, showing, writing the picture. Not here: the curve (`constraints.calibration`), what marks say
(`review.labels`).
"""

from pathlib import Path

from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.constraints.calibration import Calibration, LabelsUnusable, calibrate, read_labels
from lafid_assets.constraints.decision import CLIP_MEASURES
from lafid_assets.constraints.figures import calibration_png
from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.lake import open_lake
from lafid_assets.policy_settings import all_settings
from lafid_assets.review.labels import MarkedClips, labels_of_marks
from lafid_assets.review.marks import all_marks
from lafid_assets.review.worklist import decisions_now
from lafid_assets.schemas import FOOTAGE, PICTURE_MEASURES, POSE_FILTERED_CLIPS
from model.files import write_whole
from resources.lake.reader import Reader
from resources.settings import Settings

SHOWN_ROWS = 12
MEASURES = tuple(dict.fromkeys(rule.measure for rule in RULES))


def run_calibrate(settings: Settings, labels: Path | None, measure: str, out: Path | None) -> None:
    """Show how good each threshold of `measure` would be, and draw it.

    Args:
        labels: CSV with `clip_id` and `label`; the marks of the review page when None.
        out: the PNG to write; `calibrate-<measure>.png` in the home when None.
    """
    if measure not in MEASURES:
        raise LabelsUnusable(f"there is no measure {measure!r} to calibrate: choose one of {', '.join(MEASURES)}")
    rule = next(rule for rule in RULES if rule.measure == measure)
    table_name = PICTURE_MEASURES.name if measure in CLIP_MEASURES else POSE_FILTERED_CLIPS.name
    marked, labelled = None, None if labels is None else read_labels(labels)
    with open_lake(settings, read_only=True).snapshot() as reader:
        if labelled is None:
            marked = _marked(reader, measure)
            labelled = marked.labels
        measured = reader.read(table_name, columns=["clip_id", measure])
        decided = reader.read(POSE_FILTERED_CLIPS.name, columns=["policy_sha256"])["policy_sha256"]
        current = rule.threshold_in(FacePolicy.model_validate_json(all_settings(reader)[decided[0]])) if len(decided) else None
    result = calibrate(labelled, measured, measure, higher_is_better=rule.bound != "max")
    table = Table(*result.curve.columns, title=f"{measure} against {labels.name if labels is not None else 'marks'}")
    step = max(1, -(-result.curve.height // SHOWN_ROWS))
    for row in result.curve.gather_every(step).iter_rows():
        table.add_row(*(f"{value:.3g}" for value in row))
    CONSOLE.print(table)
    best = result.best
    CONSOLE.print(
        f"best F1 {best['f1']:.2f} at {best['threshold']:.4g} (precision {best['precision']:.2f}, recall {best['recall']:.2f})"
        + (f"; the policy has {current:g} now" if current is not None else "; the policy has this rule switched off")
    )
    if marked is not None:
        _show_marks(marked, result, labelled.height - result.unmeasured - len(result.unknown))
    if result.unmeasured or result.unknown:
        first = f", the first {result.unknown[0]}" if result.unknown else ""
        CONSOLE.print(f"left out: {result.unmeasured} without the measure, {len(result.unknown)} unknown{first}", style="yellow")
    target = out or settings.home / f"calibrate-{measure}.png"
    write_whole(target, calibration_png(result, current))
    CONSOLE.print(f"drawn: {target}")


def _marked(reader: Reader, measure: str) -> MarkedClips:
    marks = all_marks(reader)
    ids = marks["clip_id"].unique().sort().to_list()
    contents = reader.read(
        FOOTAGE.name, columns=["clip_id", "content_sha256"], where="list_contains(?, clip_id)", parameters=[ids]
    )
    faults = {str(rule.reason) for rule in RULES if rule.measure == measure}
    return labels_of_marks(marks, contents, decisions_now(reader, ids), faults)


def _show_marks(marked: MarkedClips, result: Calibration, used: int) -> None:
    """How many agree with what, and which were left out."""
    share = f" ({marked.agreeing / marked.decided:.0%})" if marked.decided else ""
    most = result.most_agreed
    CONSOLE.print(
        f"{marked.agreeing} of {marked.decided} marked clips are decided today as they were marked{share}, by {marked.markers} "
        f"{'person' if marked.markers == 1 else 'persons'}\n"
        f"a threshold of {most['threshold']:.4g} on {result.measure} agrees with most: {round(most['accuracy'] * used)} of "
        f"{used} clips whose marks tell about it"
    )
    told = {
        "the decision has changed since (counted all the same)": marked.changed,
        "should not be kept, without a fault named": marked.no_fault,
        "should not be kept, for another fault": marked.other_fault,
        "persons disagree": marked.contested,
        "the file has changed or is gone": marked.other_content,
    }
    if lines := [f"{count}: {why}" for why, count in told.items() if count]:
        CONSOLE.print("of the marks " + "; ".join(lines), style="yellow")
