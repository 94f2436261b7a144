"""The table of `benchmarks.ablation`: means and paired differences over seeds, which claims are shown, and all of it as text.

Belongs here: what is computed of results. Not here: the rows and claims (`head_variants`), the results (`head_scores`), the
pictures (`ablation_curves`).

A difference is paired: the same seed of two rows, which share initial weights where they share parts, batches, noise and
persons. It is shown when its mean lies beyond what its spread allows: a one-sided t-test at 95 %, which asks for 2.13 standard
errors of five seeds and 6.31 of two.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from benchmarks.head_scores import GAPS_DEG
from benchmarks.head_variants import BASELINES, CLAIMS, VARIANTS, Claim
from model.face_branch.experts import EXPERTS

Runs = dict[str, list[dict[str, Any]]]
"""Of each variant the results (`head_scores.Score` as a dict) in the order of seeds."""
_CONFIDENCE = 0.95
_SCALARS = ("similarity", "swap_photo", "swap_views", "swap_none", "hidden", "hidden_teeth", "seen", "loss")


class Difference(NamedTuple):
    """The difference of two rows, seed by seed."""

    mean: float
    spread: float
    """Standard deviation over pairs; 0 of a single one."""
    bound: float
    """What the mean has to exceed."""
    pairs: int


def difference(first: list[float], second: list[float]) -> Difference | None:
    """Paired, of the seeds that both have; None where there is none."""
    pairs = min(len(first), len(second))
    if pairs == 0:
        return None
    gaps = np.array(first[:pairs]) - np.array(second[:pairs])
    if pairs == 1:
        return Difference(float(gaps[0]), 0.0, float("inf"), 1)
    spread = float(gaps.std(ddof=1))
    return Difference(float(gaps.mean()), spread, float(student.ppf(_CONFIDENCE, pairs - 1)) * spread / pairs**0.5, pairs)


def summarise(runs: Runs) -> dict[str, Any]:
    """{variant: its columns, means over seeds} and the `claims`.

    `spread` is the standard deviation of a row's paired differences in similarity from its baseline (of its own similarity
    where it has none), `swap_other` is that of its views where it has references, else of its photo.
    """
    rows = {variant: _row(variant, runs) for variant, scores in runs.items() if scores}
    return {**rows, "claims": [_judged(claim, runs) for claim in CLAIMS], "gaps_deg": GAPS_DEG}


def text_of(table: dict[str, Any]) -> str:
    """The table, the controls and the claims as text."""
    return "\n\n".join((_columns(table), _differences(table), _claims(table), _footer(table)))


def _row(variant: str, runs: Runs) -> dict[str, Any]:
    scores, baseline = runs[variant], BASELINES.get(variant)
    row: dict[str, Any] = {name: _mean([score[name] for score in scores]) for name in _SCALARS}
    by_gap = np.mean([score["by_gap"] for score in scores], axis=0).tolist()
    against = None
    if baseline is not None and runs.get(baseline):
        against = difference(_values(runs[variant], "similarity"), _values(runs[baseline], "similarity"))
    own = np.std(_values(scores, "similarity"), ddof=1) if len(scores) > 1 else 0.0
    return row | {
        "spread": against.spread if against else float(own),
        "by_gap": by_gap,
        "far_pose": by_gap[-1],
        "swap_other": row["swap_photo"] if row["swap_views"] is None else row["swap_views"],
        "withheld": {name: _mean([score["withheld"].get(name) for score in scores]) for name in EXPERTS},
        "baseline": baseline if against else None,
        "difference": against._asdict() if against else None,
        "curve": np.mean([score["curve"] for score in scores], axis=0).tolist(),
        "adapter_parameters": scores[0]["adapter_parameters"],
        "seeds": len(scores),
        "cpu_s": float(np.sum([score["cpu_s"] for score in scores])),
        "runs": {name: _values(scores, name) for name in ("similarity", "far_pose", "hidden")},
    }


def _judged(claim: Claim, runs: Runs) -> dict[str, Any]:
    """The claim, its difference and its verdict: shown, not shown, or not measured."""
    have = [name for name in claim.against if runs.get(name)]
    judged: dict[str, Any] = {"text": claim.text, "row": claim.row, "column": claim.column, "verdict": "not measured"}
    if not runs.get(claim.row) or len(have) < len(claim.against):
        return judged
    column = claim.against_column or claim.column
    best = max(have, key=lambda name: float(np.mean(_values(runs[name], column))))
    found = difference(_values(runs[claim.row], claim.column), _values(runs[best], column))
    if found is None:
        return judged
    shown = found.mean >= 0 if claim.at_least else found.mean > found.bound
    named = best if claim.against_column is None else f"{best}.{claim.against_column}"
    return judged | {"against": named, **found._asdict(), "verdict": "shown" if shown else "not shown"}


def _columns(table: dict[str, Any]) -> str:
    gaps = [f"{low}-{high} deg" for low, high in table["gaps_deg"]]
    named = ("seeds", "all", *gaps, "photo of", "views of", "nobody", *(f"w/o {name}" for name in EXPERTS))
    lines = [
        "similarity with persons never seen: by pose gap to the photo, with another's photo or views, an expert withheld;",
        "hidden, teeth, seen: correlation of features that the photo hides (mark, teeth) or shows (mark) with the truth",
        "",
        f"{'variant':22}" + "".join(f"{name:>13}" for name in (*named, "hidden", "teeth", "seen", "loss", "last quarter")),
    ]
    for variant in (*VARIANTS, "words", "real_frames"):
        row = table.get(variant)
        if row is None:
            continue
        withheld = row.get("withheld", {})
        gain = row["curve"][-1][1] - row["curve"][-2][1] if len(row.get("curve", ())) > 1 else None
        cells = [row["similarity"], *row["by_gap"], row.get("swap_photo"), row.get("swap_views"), row.get("swap_none")]
        cells += [withheld.get(name) for name in EXPERTS]
        cells += [row["hidden"], row["hidden_teeth"], row["seen"], row.get("loss"), gain]
        lines.append(f"{variant:22}{row.get('seeds', ''):>13}" + "".join(f"{_cell(value):>13}" for value in cells))
    return "\n".join(lines)


def _differences(table: dict[str, Any]) -> str:
    lines = [f"{'variant':22}{'against':>22}{'difference':>12}{'spread':>9}{'pairs':>7}{'parameters':>12}  what it is"]
    for variant in (name for name in VARIANTS if name in table):
        row, found = table[variant], table[variant]["difference"]
        cells = f"{row['baseline']:>22}{found['mean']:>+12.3f}{found['spread']:>9.3f}{found['pairs']:>7}" if found else " " * 50
        lines.append(f"{variant:22}{cells}{row['adapter_parameters']:>12,}  {VARIANTS[variant].note}")
    return "\n".join(lines)


def _claims(table: dict[str, Any]) -> str:
    lines = [f"{'claim':52}{'row, column, against':52}{'difference':>12}{'to exceed':>11}{'pairs':>7}  verdict"]
    for claim in table["claims"]:
        if "mean" not in claim:
            lines.append(f"{claim['text']:52}{claim['row'] + '.' + claim['column']:52}{'':>30}  {claim['verdict']}")
            continue
        what = f"{claim['row']}.{claim['column']} - {claim['against']}"
        bound = f"{claim['bound']:>11.3f}{claim['pairs']:>7}"
        lines.append(f"{claim['text']:52}{what:52}{claim['mean']:>+12.3f}{bound}  {claim['verdict']}")
    return "\n".join(lines)


def _footer(table: dict[str, Any]) -> str:
    judge, total = table["judge"], sum(table[name]["cpu_s"] for name in VARIANTS if name in table)
    return (
        f"the judge: one head in two poses {judge['same']:.3f} ({judge['same_far']:.3f} more than 60 deg apart), two heads "
        f"{judge['different']:.3f}, told apart in {judge['auc']:.2%} of pairs ({judge['auc_far']:.2%})\n"
        f"{total / 60:.0f} CPU minutes in all runs; {table['sizes']}"
    )


def _values(scores: list[dict[str, Any]], column: str) -> list[float]:
    return [score["by_gap"][-1] if column == "far_pose" else score[column] for score in scores]


def _mean(values: list[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(np.mean(given)) if given else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
