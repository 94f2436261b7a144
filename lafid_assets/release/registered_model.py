"""`registered_model`: the MLflow version, judged; champion where the gate opens.

Belongs here: the asset, and the order of registering, judging and promoting. Not here: packaging (`model.release.package`), the
rules (`gates`, `demands`), evidence (`judgement`), aliases (`promotion`), tags (`lineage`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.lafid_toml.settings_file import MODEL
from lafid_assets.release.champion import Rival, rival_of
from lafid_assets.release.gates import Finding, ReleaseGate, in_words
from lafid_assets.release.judgement import Facts, judge, keep_judgement, last_judgement, read_facts
from lafid_assets.release.lineage import COMMIT_TAG, JUDGEMENT_TAG, description, git_commit, judgement_tags, lineage_tags
from lafid_assets.release.promotion import at_registry, has_been
from lafid_assets.schemas import EVALUATED_VIDEOS, FUSION_DIT, LAFID_BENCH, LAFID_DATASET, MODEL_EVALUATION, REGISTERED_MODEL
from lafid_assets.schemas.registry import BY_GATE, PASSED
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from lafid_assets.training.base import fetch_base
from model.release.drawing_settings import DrawingSettings
from resources.lake.lake import Lake
from resources.tracking import CANDIDATE, CHAMPION, RegisteredVersion, Tracking

STEP = Step(
    writes=(REGISTERED_MODEL,),
    # The dataset, because a person may be forgotten: that changes its rows, and the judgement.
    reads=(FUSION_DIT.name, MODEL_EVALUATION.name, EVALUATED_VIDEOS.name, LAFID_BENCH.name, LAFID_DATASET.name),
    group="release",
    code_version="3",
    kinds=frozenset({"mlflow"}),
    require=lambda config: DrawingSettings.of(config.drawing),
)
GATE_CHECK = dg.AssetCheckSpec(
    "gate",
    asset=STEP.asset,
    description="The last judgement of the version: passed, or what kept it from that. The figures are those of the rules.",
)


class RegisteredModelConfig(dg.Config, ReleaseGate):
    """Where the model goes, what it must reach to be champion, and how it draws to prove itself."""

    model_name: str = Field(MODEL, description="Name in the registry")
    drawing: dict[str, Any] = Field(
        {}, description="How fresh processes draw: lines of DrawingSettings (precision, low_memory, device)"
    )
    deadline_s: float = Field(3600, gt=0, description="Seconds of computing that such a process may take, with loading the model")


@STEP.as_asset(deps=["fusion_dit", "model_evaluation"], pool="gpu", checks=[GATE_CHECK])
def registered_model(
    context: dg.AssetExecutionContext,
    config: RegisteredModelConfig,
    lake: dg.ResourceParam[Lake],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """The checkpoint in MLflow's registry with measures, lineage and licences, judged; champion only if the gate opens and the
    champion is still the one that it was judged against.

    Those who draw videos pull a version from there; whoever releases reads here why a model is, or is not, champion.
    """
    judged: list[dict[str, Any]] = []

    def describe(_: str, frames: Frames) -> dict[str, Any]:
        row = frames[REGISTERED_MODEL.name].row(0, named=True)
        judgement = last_judgement(lake, row["model_name"], row["model_version"], row["checkpoint_sha256"])
        judged.extend([] if judgement is None else [judgement])
        told = {name: row[name] or "none" for name in ("model_uri", "alias", "gate", "verdict", "dataset_version")}
        return told | ({} if judgement is None else {"judgement": _table(judgement["findings"])})

    work = Work(
        lambda _: {REGISTERED_MODEL.name: REGISTERED_MODEL.frame([_release(context.run_id, config, lake, tracking)])},
        settled=lambda _, frames: _is_settled(frames, lake, tracking),
        metadata=describe,
    )
    result = STEP.materialize(context, config, lake, work)
    checks = [*(result.check_results or ()), *map(_checked, judged)]
    return dg.MaterializeResult(metadata=result.metadata, check_results=checks)


def _table(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    plain = ({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain])


def _release(run_id: str, config: RegisteredModelConfig, lake: Lake, tracking: Tracking) -> dict[str, Any]:
    """Register, judge, promote. Whatever is killed here is done again, and what was done is found done."""
    with lake.snapshot() as reader:
        facts = read_facts(reader, lake.store)
    checkpoint, name = facts.checkpoint, config.model_name
    sha256 = checkpoint["checkpoint_sha256"]
    tags = lineage_tags(checkpoint, facts.base, facts.dataset, facts.parts, _commit(tracking, sha256), run_id)
    version = tracking.find_version(name, sha256)
    if version is None:
        address = _logged_model(facts, tags, name, lake, tracking)
        import mlflow

        version = RegisteredVersion(name, str(mlflow.register_model(address, name, tags=tags).version))
    with at_registry(lake, tracking, name) as registry:
        registered = tracking.connect().get_model_version(name, version.version)
        if not any(has_been(lake, alias, registered) for alias in (CANDIDATE, CHAMPION)):
            registry.make_candidate(version.version)
    rival = rival_of(sha256, name, tracking)
    findings = judge(config, facts, rival, lake.store, config.drawing, config.deadline_s)
    judgement = keep_judgement(lake, facts, version, findings, rival, run_id)
    # What it came from was said when it was registered.
    tags |= {tag: value for tag, value in registered.tags.items() if tag in tags}
    _describe_version(tracking, version, tags | judgement_tags(judgement, facts.evaluation), judgement)
    with at_registry(lake, tracking, name) as registry:
        kept_back = _kept_back(registry.aliases.get(CHAMPION), version, rival, taken=has_been(lake, CHAMPION, registered))
        if judgement["verdict"] == PASSED and not kept_back:
            why = f"passed the gate `{facts.gate}`, judged against {judgement['against_version'] or 'nobody'}"
            registry.promote(version.version, how=BY_GATE, why=why, judgement_id=judgement["judgement_id"])
        aliases = registry.aliases
    return {
        "model_name": name,
        "model_version": version.version,
        "alias": next((alias for alias in (CHAMPION, CANDIDATE) if aliases.get(alias) == version.version), None),
        "model_uri": version.uri,
        "gate": in_words(findings) + (kept_back if judgement["verdict"] == PASSED else ""),
        "checkpoint_sha256": sha256,
        "dataset_version": checkpoint["dataset_version"],
        "verdict": judgement["verdict"],
        "judgement_id": judgement["judgement_id"],
    }


def _kept_back(champion: str | None, version: RegisteredVersion, rival: Rival | None, *, taken: bool) -> str:
    """Why a version that passed does not become champion by a run; empty: it does, or is.

    It takes the place of `rival` alone, whom it was judged against, and never again what was `taken` from it.
    """
    if champion == version.version:
        return ""
    if taken:
        return ", but somebody took `champion` from it: `lafid promote` gives it back"
    against = rival.version.version if rival is not None and rival.alias == CHAMPION else None
    if champion != against:
        now, then = (f"version {one}" if one else "nobody" for one in (champion, against))
        return f", but champion is {now}, and it was judged against {then}: materialize model_evaluation and this asset again"
    return ""


def _commit(tracking: Tracking, checkpoint_sha256: str) -> str:
    """The commit that the checkpoint was trained with; this checkout's where nobody kept it."""
    model_id = tracking.find_logged_model(checkpoint_sha256)
    tags = {} if model_id is None else tracking.connect().get_logged_model(model_id).tags
    return str(tags.get(COMMIT_TAG) or git_commit())


def _logged_model(facts: Facts, tags: dict[str, str], name: str, lake: Lake, tracking: Tracking) -> str:
    """Its address: the one that the training logged, with the measures added; logged now where MLflow was away then."""
    from model.release.package import describe_logged, log_checkpoint

    checkpoint = facts.checkpoint
    own = facts.evaluation.filter(pl.col("checkpoint_sha256") == checkpoint["checkpoint_sha256"], pl.col("value").is_not_null())
    measures = {f"{row['split']}_{row['metric']}": row["value"] for row in own.iter_rows(named=True)}
    model_id = tracking.find_logged_model(checkpoint["checkpoint_sha256"])
    if model_id is not None:
        return describe_logged(model_id, tags=tags, metrics=measures, step=checkpoint["step"])
    tracking.open_experiment()
    return log_checkpoint(
        lake.store.fetch(checkpoint["checkpoint_path"]),
        fetch_base(checkpoint["base_path"], lake.store),
        name=name,
        tags=tags,
        metrics=measures | {name: checkpoint[name] for name in ("loss_before", "loss_after")},
        params={"preset": checkpoint["preset"], "steps": str(checkpoint["steps"])},
    )


def _describe_version(
    tracking: Tracking, version: RegisteredVersion, tags: Mapping[str, str], judgement: Mapping[str, Any]
) -> None:
    """The tag that names the judgement comes last: who finds it there finds the others, too. Most are there since it was
    registered; each that is set asks the registry several times."""
    client = tracking.connect()
    client.update_model_version(version.name, version.version, description(tags, judgement))
    there = client.get_model_version(version.name, version.version).tags
    for name in sorted((name for name in tags if there.get(name) != tags[name]), key=lambda name: name == JUDGEMENT_TAG):
        client.set_model_version_tag(version.name, version.version, name, tags[name])


def _is_settled(frames: Frames, lake: Lake, tracking: Tracking) -> bool:
    """Whether the version is there, says what was found of it, and was champion if it passed. Where somebody else took its place
    while it was judged it is judged again; who took the alias away from it later has the last word."""
    row = frames[REGISTERED_MODEL.name].row(0, named=True)
    found = tracking.find_version(row["model_name"], row["checkpoint_sha256"])
    if found is None or row["judgement_id"] is None:
        return False
    registered = tracking.connect().get_model_version(found.name, found.version)
    if registered.tags.get(JUDGEMENT_TAG) != row["judgement_id"]:
        return False
    return row["verdict"] != PASSED or has_been(lake, CHAMPION, registered)


def _checked(judgement: Mapping[str, Any]) -> dg.AssetCheckResult:
    findings = [Finding(**found) for found in judgement["findings"]]
    figures = {found.rule: found.figure for found in findings if found.figure is not None}
    return dg.AssetCheckResult(
        check_name=GATE_CHECK.name,
        passed=judgement["verdict"] == PASSED,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"verdict": judgement["verdict"], "findings": in_words(findings), **figures},
    )
