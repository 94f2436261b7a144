"""Why the face constraints decided as they did: every rule with measure and threshold, and the frames that decided.

Belongs here: one clip's stored scores -> lines and frames. Not here: decoding the frames, the command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.outcomes import KEPT, Reason

MOST_FRAMES = 8
ORIGIN_OF = {"luminance_min": "luminance_origin", "luminance_max": "luminance_origin", "blur_min": "blur_origin"}


@dataclass(frozen=True)
class RuleLine:
    """One rule applied to one clip.

    Attributes:
        measured: None where the measure is missing; the rule is not broken then.
        demand: the threshold in words, "at least 45".
        origin: where a measure comes from that may be released or measured here; None of all others.
    """

    rule: str
    measure: str
    measured: float | None
    demand: str
    broken: bool
    origin: str | None = None


@dataclass(frozen=True)
class TellingFrame:
    """A frame that decided, and what it shows."""

    frame_index: int
    time_s: float
    why: str


def explain_rules(measures: Mapping[str, Any], reasons: list[str], policy: FacePolicy) -> list[RuleLine]:
    """Every active rule in the policy's order.

    Args:
        measures: the clip's measures by name, as the rules name them.
        reasons: what the decision listed.
    """
    words = {"min": "at least", "max": "at most", "above": "more than"}
    lines = []
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold is None:
            continue
        measured = measures.get(rule.measure)
        broken = measured is not None and rule.reason in reasons
        if broken and measured is not None:  # of two rules with one reason, only the one that its own measure breaks
            broken = {"min": measured < threshold, "max": measured > threshold, "above": measured <= threshold}[rule.bound]
        origin = measures.get(ORIGIN_OF[rule.measure]) if rule.measure in ORIGIN_OF else None
        lines.append(RuleLine(rule.reason, rule.measure, measured, f"{words[rule.bound]} {threshold:g}", broken, origin))
    return lines


def telling_frames(faces: pl.DataFrame, frames: pl.DataFrame, reason: str | None) -> list[TellingFrame]:
    """At most eight frames that show why: by reason the emptiest, most crowded, smallest, least sharp, else the extreme poses.

    Args:
        faces: rows of `face_info` of one clip.
        frames: its rows of `face_frames`.
        reason: of the decision; None where the clip was kept.
    """
    times = dict(frames.select("frame_index", "time_s").iter_rows())
    main = faces.filter(pl.col("face_index") == 0)
    if reason in (Reason.NO_FACE, Reason.FACE_TOO_RARE):
        chosen = _spread(frames.filter(pl.col("face_count") == 0), "no face")
    elif reason == Reason.SEVERAL_FACES:
        crowded = frames.filter(pl.col("face_count") > 1).sort("face_count", "frame_index", descending=[True, False])
        chosen = [(row["frame_index"], f"{row['face_count']} faces") for row in crowded.head(MOST_FRAMES).iter_rows(named=True)]
    elif reason == Reason.FACE_TOO_SMALL:
        chosen = _lowest(main, "head_height_px", "face {:.0f} px high")
    elif reason == Reason.FACE_BLURRED:
        chosen = _lowest(main, "sharpness", "sharpness {:.0f}")
    elif reason == Reason.POSE_UNKNOWN:
        chosen = _spread(main.filter(pl.col("yaw_deg").is_null()), "no pose")
    else:
        chosen = _extreme_poses(main)
    return [TellingFrame(index, times[index], why) for index, why in sorted(chosen)]


def frames_around(faces: pl.DataFrame, frames: pl.DataFrame, break_frame: int) -> list[TellingFrame]:
    """The frames before and from the one at which the person changes, at most four each.

    Args:
        faces, frames: as `telling_frames` takes them.
        break_frame: index of the first frame that shows somebody else.
    """
    times = dict(frames.select("frame_index", "time_s").iter_rows())
    shown = faces.filter(pl.col("face_index") == 0)["frame_index"].sort()
    before, after = shown.filter(shown < break_frame), shown.filter(shown >= break_frame)
    half = MOST_FRAMES // 2
    chosen = [(index, "before") for index in before.tail(half)] + [(index, "from the change on") for index in after.head(half)]
    return [TellingFrame(index, times[index], why) for index, why in chosen]


def in_words(status: str, step: str, reason: str | None, lines: list[RuleLine], detail: str | None = None) -> str:
    """How a clip ended as a sentence.

    Args:
        status, reason: of the step that decided, `kept` where every step let it pass.
        lines: the rules of that step.
    """
    if status == KEPT:
        return KEPT
    broken = [f"{line.measure} {line.measured:.3g}, {line.demand} asked for" for line in lines if line.broken]
    return f"{status} by {step}: {reason}" + (f" ({why})" if (why := "; ".join([*broken, *([detail] if detail else [])])) else "")


def _extreme_poses(main: pl.DataFrame) -> list[tuple[int, str]]:
    posed = main.drop_nulls("yaw_deg").sort("frame_index")
    if posed.is_empty():
        return _spread(main, "no pose")
    found: dict[int, list[str]] = {}
    for angle in ("yaw", "pitch", "roll"):
        for index in (posed[f"{angle}_deg"].arg_min(), posed[f"{angle}_deg"].arg_max()):
            row = posed.row(int(index or 0), named=True)
            found.setdefault(row["frame_index"], []).append(f"{angle} {row[f'{angle}_deg']:.0f}")
    return [(index, ", ".join(dict.fromkeys(why))) for index, why in found.items()]


def _lowest(rows: pl.DataFrame, column: str, words: str) -> list[tuple[int, str]]:
    low = rows.drop_nulls(column).sort(column, "frame_index").head(MOST_FRAMES)
    return [(row["frame_index"], words.format(row[column])) for row in low.iter_rows(named=True)]


def _spread(rows: pl.DataFrame, why: str) -> list[tuple[int, str]]:
    ordered = rows.sort("frame_index")["frame_index"].to_list()
    step = max(1, -(-len(ordered) // MOST_FRAMES))
    return [(index, why) for index in ordered[::step]]
