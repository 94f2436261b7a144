"""Which cases of a bench a model has seen, asked of the clips that it was trained on.

Belongs here: a model's dataset version -> its training clips, and from which cosine on two persons are one. Not here: comparing
(`model.evaluation.leakage`), what follows from a leak (`gates`).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.identity.impostor_pairs import choose_threshold
from lafid_assets.identity.policies import ClusterPolicy, EngineUncalibrated
from lafid_assets.schemas import DATASET_VERSION_ROWS
from model.evaluation.bench import Bench
from model.evaluation.leakage import Leak, TrainedClip, find_leaks
from resources.lake.reader import Reader

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
    columns = ", ".join(COLUMNS)
    trained = reader.sql(
        f"SELECT {columns} FROM {DATASET_VERSION_ROWS.name} WHERE dataset_version = ? AND split = 'train' ORDER BY clip_id",
        [dataset_version],
    )
    if trained.is_empty():
        raise TrainingUnknown(
            f"this lake does not know which clips dataset version {dataset_version} trains on, so that bench {bench.version} "
            "cannot be checked for what the model has seen: run it where the model was trained"
        )
    comparable = trained.filter(engine=bench.engine.name)
    looks = _rows_of(comparable["identity_embedding"])
    return find_leaks(bench, _clips(trained), _same_person_cosine(looks, bench, policy or ClusterPolicy()))


def _clips(trained: pl.DataFrame) -> list[TrainedClip]:
    facts = trained.drop("identity_embedding").iter_rows(named=True)
    looks = _rows_of(trained["identity_embedding"])
    return [TrainedClip(**row, embedding=look) for row, look in zip(facts, looks, strict=True)]


def _rows_of(embeddings: pl.Series) -> list[NDArray[np.float32]]:
    """One array a row; lists of one engine's width each, those of another may lie between them."""
    return [row.to_numpy() for row in embeddings]


def _same_person_cosine(looks: list[NDArray[np.float32]], bench: Bench, policy: ClusterPolicy) -> float | None:
    try:
        figures = policy.figures_for(bench.engine.name)
    except EngineUncalibrated:
        return None
    return choose_threshold(
        np.stack(looks) if looks else np.empty((0, bench.engine.width), np.float32), figures, policy.false_links_per_clip
    ).cosine
