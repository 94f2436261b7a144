"""What a registered version says about where it comes from, and what was found of it: tags, and a page made from them.

Belongs here: facts -> MLflow tags and description. Not here: writing them (`registered_model`), the way back from them
(`model_lineage`).

No clip is named in them: `lafid forget` cannot clean a registry.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from lafid_assets.release.licences import Licensed
from lafid_assets.schemas.registry import PASSED
from resources.settings import PROJECT_ROOT
from resources.tracking import CHECKPOINT_TAG, DATASET_TAG

COMMIT_TAG, JUDGEMENT_TAG, VERDICT_TAG = "lafid.git_commit", "lafid.judgement", "lafid.gate"
LONGEST_TAG = 5000
"""Characters. MLflow 3.17 takes 100,000 of a version's tag, 8000 of a run's and a LoggedModel's; Postgres 5000 of a model's."""
LONGEST_DESCRIPTION = 5000
"""Length of the column in MLflow's database."""
_CUT = " ..."


def lineage_tags(
    checkpoint: Mapping[str, Any],
    base: Mapping[str, Any],
    dataset: Mapping[str, Any] | None,
    parts: Sequence[Licensed],
    commit: str,
    run_id: str,
) -> dict[str, str]:
    """Tags that lead from the model back to its clips: dataset version with funnel and policies, base, code, runs, licences.

    Args:
        base: `base` of the checkpoint's manifest.
        dataset: the row of `dataset_versions`; None: the lake does not know the version.
        run_id: Dagster's.
    """
    tags = {
        CHECKPOINT_TAG: checkpoint["checkpoint_sha256"],
        DATASET_TAG: checkpoint["dataset_version"],
        "lafid.preset": checkpoint["preset"],
        "lafid.published": checkpoint["published"],
        "lafid.base": base["name"],
        "lafid.base_repository": base["repository"] or "built here, travels along",
        "lafid.base_revision": base["revision"] or "none",
        "lafid.base_sha256": base["sha256"],
        "lafid.training_run": checkpoint["mlflow_run_id"],
        "lafid.licences": "; ".join(map(str, parts)),
        COMMIT_TAG: commit,
        "dagster.run_id": run_id,
    }
    if dataset is not None:
        tags |= {
            "lafid.policy": ", ".join(policies_of([dataset["decided_by"]])) or "none recorded",
            "lafid.clips": f"{dataset['clips']} of {dataset['clips_in']}, {dataset['identities']} persons",
            "lafid.funnel": funnel_in_words(dataset["funnel"]),
        }
    return {name: _fitting(value, LONGEST_TAG) for name, value in tags.items()}


def judgement_tags(judgement: Mapping[str, Any], evaluation: pl.DataFrame) -> dict[str, str]:
    """What was found of it, which another judgement replaces."""
    kept_back = [found["rule"] for found in judgement["findings"] if found["verdict"] not in (PASSED, "not judged")]
    said = f"{judgement['verdict']}: {', '.join(kept_back)}" if kept_back else judgement["verdict"]
    against = judgement["against_version"]
    return {
        VERDICT_TAG: said,
        JUDGEMENT_TAG: judgement["judgement_id"],
        "lafid.gate_rules": judgement["gate"],
        "lafid.judged_at": judgement["judged_at"],
        "lafid.judged_against": "nobody" if against is None else f"version {against}",
        "lafid.bench": f"{judgement['bench_name']} {judgement['bench_version']}" if judgement["bench_version"] else "none",
        "lafid.intervals": _fitting("; ".join(_intervals(judgement, evaluation)) or "none", LONGEST_TAG),
    }


def description(tags: Mapping[str, str], judgement: Mapping[str, Any]) -> str:
    """Markdown: what it is made of, what was found of it, under whose terms."""
    facts = {
        "dataset": f"{tags[DATASET_TAG]}: {tags.get('lafid.clips', 'not in this lake')}",
        "funnel": tags.get("lafid.funnel", "not in this lake"),
        "policies": tags.get("lafid.policy", "not in this lake"),
        "base": f"{tags['lafid.base']} ({tags['lafid.base_repository']}, revision {tags['lafid.base_revision']})",
        "preset": f"{tags['lafid.preset']}, published {tags['lafid.published']}",
        "commit": tags[COMMIT_TAG],
        "runs": f"MLflow {tags['lafid.training_run']}, Dagster {tags['dagster.run_id']}",
        "checkpoint": tags[CHECKPOINT_TAG],
        "bench": tags["lafid.bench"],
    }
    lines = [
        f"**{tags[VERDICT_TAG]}** (rules `{tags['lafid.gate_rules']}`, against {tags['lafid.judged_against']})",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "| rule | verdict | figure | bound |",
        "|---|---|---|---|",
        *(
            f"| {found['rule']} | {found['verdict']} | {_number(found['figure'])} | {_number(found['bound'])} |"
            for found in judgement["findings"]
        ),
        "",
        "Terms:",
        *(f"- {part}" for part in tags["lafid.licences"].split("; ")),
        "",
        "Intervals (95 %, bootstrap over persons):",
        *(f"- {interval}" for interval in tags["lafid.intervals"].split("; ")),
    ]
    return _fitting("\n".join(lines), LONGEST_DESCRIPTION)


def policies_of(decided_by: Iterable[str]) -> list[str]:
    """Names of the policies in `decided_by` of dataset versions, sorted."""
    told = [json.loads(text) for text in decided_by]
    return sorted({name for tables in told for columns in tables.values() for name in columns.get("policy", [])})


def funnel_in_words(funnel: Sequence[Mapping[str, Any]]) -> str:
    """`funnel` of `dataset_versions` in one line."""
    told = [(row["status"], row["step"], row["reason"], row["clips"]) for row in funnel]
    return ", ".join(
        " ".join(filter(None, (status, reason, f"at {step}" if step else "", str(clips)))) for status, step, reason, clips in told
    )


def git_commit() -> str:
    """The checkout's commit, `+dirty` when files differ from it; `unknown` outside a checkout."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
    except FileNotFoundError:
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+dirty" if git("status", "--porcelain").stdout.strip() else "")


def _intervals(judgement: Mapping[str, Any], evaluation: pl.DataFrame) -> list[str]:
    """Intervals of those of the bench's measures that have one."""
    own = evaluation.filter(
        pl.col("checkpoint_sha256") == judgement["checkpoint_sha256"],
        pl.col("bench_version").eq_missing(pl.lit(judgement["bench_version"])),
        pl.col("low").is_not_null(),
    )
    return [
        f"{row['metric']} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in own.sort("metric").to_dicts()
    ]


def _fitting(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
