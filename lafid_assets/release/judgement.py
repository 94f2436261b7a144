"""A version before the gate: the evidence gathered, judged, and the judgement kept whole.

Belongs here: which rows, files and processes are asked, and which clips a model was trained on. Not here: the rules (`gates`,
`demands`), what leaks (`model.evaluation.leakage`), what follows for the alias (`promotion`).
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lafid_assets import schemas
from lafid_assets.identity.impostor_pairs import choose_threshold
from lafid_assets.identity.policies import ClusterPolicy, EngineUncalibrated
from lafid_assets.release import demands
from lafid_assets.release.bench_folder import current_bench, stored_bench
from lafid_assets.release.champion import Rival
from lafid_assets.release.gates import Evidence, Finding, ReleaseGate, figures_found, verdict_of
from lafid_assets.release.licences import Licensed, licensed_parts
from lafid_assets.release.proofs import CannotDraw, Redrawing, broken_weights, frames_of_fresh_processes
from lafid_assets.training.base import fetch_base
from lafid_assets.training.held_out import drawing_of
from model.evaluation.bench import Bench, BenchError, MeasuringEngine
from model.evaluation.leakage import Leak, TrainedClip, find_leaks
from model.release import MANIFEST_FILE
from model.release.drawing_settings import DrawingSettings
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.store.file_store import FileStore, StoreUnusable
from resources.tracking import RegisteredVersion


@dataclass(frozen=True)
class Facts(Evidence):
    """What is known of the checkpoint that is to be released, of one moment.

    Attributes:
        dataset: the row of `dataset_versions`; None: this lake does not know the version.
        parts: whose terms it stands under.
        leaks: sentences; None where they cannot be known, and `leaks_unknown` says why.
        semantic: the vision encoder's folder that the clips were cached with, as a frame of one column.
    """

    dataset: dict[str, Any] | None
    parts: list[Licensed]
    leaks: list[str] | None
    leaks_unknown: str
    semantic: pl.DataFrame


def read_facts(reader: Reader, store: FileStore) -> Facts:
    """Facts about the one checkpoint of `fusion_dit`."""
    checkpoint = reader.read(schemas.FUSION_DIT.name).row(0, named=True)
    version = checkpoint["dataset_version"]
    base = json.loads(store.read_bytes(f"{checkpoint['checkpoint_path']}/{MANIFEST_FILE}"))["base"]
    known = reader.sql(f"SELECT * FROM {schemas.DATASET_VERSIONS.name} WHERE dataset_version = ?", [version])
    bench, unknown = _bench(reader, store)
    leaks = None
    if bench is not None:
        try:
            leaks = [leak.sentence for leak in leaks_of(reader, bench, version)]
        except TrainingUnknown as error:
            unknown = str(error)
    return Facts(
        checkpoint=checkpoint,
        base=base,
        dataset=known.row(0, named=True) if known.height else None,
        parts=licensed_parts(reader, version, base),
        evaluation=reader.read(schemas.MODEL_EVALUATION.name),
        videos=reader.read(schemas.EVALUATED_VIDEOS.name),
        bench=bench,
        leaks=leaks,
        leaks_unknown=unknown,
        semantic=reader.sql(
            f"SELECT semantic_encoder FROM {schemas.TRAINING_LATENTS.name} WHERE semantic_encoder IS NOT NULL LIMIT 1"
        ),
    )


def judge(
    gate: ReleaseGate, facts: Facts, rival: Rival | None, store: FileStore, drawing: dict[str, Any], deadline_s: float
) -> list[Finding]:
    """Every rule's finding, whatever the others find."""
    checkpoint = facts.checkpoint
    folder, base_dir = store.fetch(checkpoint["checkpoint_path"]), fetch_base(checkpoint["base_path"], store)
    return [
        *figures_found(gate, facts, rival),
        demands.unseen(facts.leaks, facts.leaks_unknown),
        demands.weights(broken_weights(folder, facts.sha256)),
        _redrawn(folder, base_dir, drawing_of(drawing, facts.semantic), deadline_s),
        demands.licences(facts.parts, gate.use),
        demands.nobody_forgotten(checkpoint["dataset_version"], None if facts.dataset is None else facts.dataset["erased_clips"]),
    ]


def keep_judgement(
    lake: Lake, facts: Facts, version: RegisteredVersion, findings: list[Finding], rival: Rival | None, run_id: str
) -> dict[str, Any]:
    """The judgement as a row of `judgements`, which it is from now on."""
    row = {
        "judgement_id": uuid.uuid4().hex,
        "model_name": version.name,
        "model_version": version.version,
        "checkpoint_sha256": facts.sha256,
        "bench_name": None if facts.bench is None else facts.bench.name,
        "bench_version": None if facts.bench is None else facts.bench.version,
        "gate": facts.gate,
        "verdict": verdict_of(findings),
        "findings": [finding._asdict() for finding in findings],
        "against_version": None if rival is None else rival.version.version,
        "against_checkpoint_sha256": None if rival is None else rival.checkpoint_sha256,
        "judged_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "dagster_run_id": run_id,
    }
    frame = schemas.JUDGEMENTS.frame([row])
    if violations := schemas.JUDGEMENTS.violations(frame):
        raise ValueError(f"{schemas.JUDGEMENTS.name}: {violations[0]}")
    lake.commit(lambda writer: writer.add(schemas.JUDGEMENTS.name, frame))
    return row


def last_judgement(lake: Lake | Reader, name: str, version: str, checkpoint_sha256: str) -> dict[str, Any] | None:
    """The newest judgement of a version; None: it was never judged."""
    sql = (
        f"SELECT * FROM {schemas.JUDGEMENTS.name} WHERE model_name = ? AND model_version = ? AND checkpoint_sha256 = ? "
        "ORDER BY judged_at DESC LIMIT 1"
    )
    found = lake.sql(sql, [name, version, checkpoint_sha256])
    return found.row(0, named=True) if found.height else None


def _bench(reader: Reader, store: FileStore) -> tuple[Bench | None, str]:
    """The bench that is asked for, and why there is none."""
    current = current_bench(reader)
    if current is None:
        return None, "there is no bench: materialize lafid_bench"
    try:
        return stored_bench(store, current), ""
    except (BenchError, StoreUnusable) as error:
        return None, str(error)


def _redrawn(folder: Path, base_dir: Path, drawing: DrawingSettings, deadline_s: float) -> Finding:
    try:
        return demands.reload(frames_of_fresh_processes(Redrawing(folder, base_dir, drawing), deadline_s), None)
    except CannotDraw as error:
        return demands.reload((), str(error))


COLUMNS = ("clip_id", "content_sha256", "recording_id", "identity_id", "engine", "identity_embedding")


class TrainingUnknown(LookupError):
    """Nobody here knows what the model was trained on, so that nobody can say what it has not seen."""


def leaks_of(reader: Reader, bench: Bench, dataset_version: str, policy: ClusterPolicy | None = None) -> list[Leak]:
    """What a model that was trained on `dataset_version` knows of the bench's persons: by file, recording, name or look.

    Two persons look the same from the cosine on that made clips of that version one person (`identity.impostor_pairs`); an engine
    without figures has none, and likeness is not asked.

    Raises:
        TrainingUnknown: the lake has not kept that version.
    """
    trained = reader.sql(
        f"SELECT {', '.join(COLUMNS)} FROM {schemas.DATASET_VERSION_ROWS.name} WHERE dataset_version = ? AND split = 'train' "
        "ORDER BY clip_id",
        [dataset_version],
    )
    if trained.is_empty():
        raise TrainingUnknown(
            f"this lake does not know which clips dataset version {dataset_version} trains on, so that bench {bench.version} "
            "cannot be checked for what the model has seen: run it where the model was trained"
        )
    facts = trained.drop("identity_embedding").iter_rows(named=True)
    # Lists of one engine's width each; those of another may lie between them.
    looks = [row.to_numpy() for row in trained["identity_embedding"]]
    clips = [TrainedClip(**row, embedding=look) for row, look in zip(facts, looks, strict=True)]
    return find_leaks(bench, clips, _same_person_cosine(bench.engine, clips, policy or ClusterPolicy()))


def _same_person_cosine(engine: MeasuringEngine, clips: Sequence[TrainedClip], policy: ClusterPolicy) -> float | None:
    try:
        figures = policy.figures_for(engine.name)
    except EngineUncalibrated:
        return None
    looks = np.array([clip.embedding for clip in clips if clip.engine == engine.name], np.float32).reshape(-1, engine.width)
    return choose_threshold(looks, figures, policy.false_links_per_clip).cosine
