"""Which clips there are to look at: those that rules have decided, by how they ended, how narrowly, whose they are, and by marks.

Belongs here: a person's filters -> SQL -> a few clips and counts. Not here: one clip (`clip_facts`), the page.

Nothing is kept between two questions: the lake answers each as it is now, and gives no more clips than a page shows.
"""

from collections.abc import Callable
from typing import Literal

import polars as pl
from pydantic import BaseModel, Field

from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.constraints.threshold_margins import miss_share, spare_share, threshold_distance
from lafid_assets.dataset.report_data import face_policies
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.outcomes import Reason, Status
from lafid_assets.review.marks import STANDING
from lafid_assets.schemas import (
    DUPLICATE_CLIPS,
    FACE_CLIPS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
)
from lafid_assets.schemas.review import DECIDED
from model.strict import StrictModel
from resources.lake.duckdb_extensions import literal, quoted
from resources.lake.reader import Reader

PAGE_CLIPS = 200
KEPT, REJECTED = DECIDED
OUTLIER_SHARE = "outlier_share"
FACE_MEASURES = tuple(dict.fromkeys(rule.measure for rule in RULES if rule.measure in POSE_FILTERED_CLIPS.dtypes))
MEASURES = (*FACE_MEASURES, OUTLIER_SHARE)
"""Measures near whose thresholds clips can be looked at: those that the tables of decisions hold."""


class Wanted(StrictModel):
    """What a person wants to see; None stands for all."""

    status: Literal["kept", "rejected"] | None = None
    reason: Reason | None = None
    measure: str | None = Field(None, description="Clips near the threshold on this one of `MEASURES`, on either side")
    within: float | None = Field(None, gt=0, le=10, description="Distance to the threshold, as a share of it")
    source: str | None = Field(None, description="The dataset that the clip comes from")
    person: str | None = Field(None, description="How the person's identity_id begins")
    shard: str | None = None
    marks: Literal["none", "mine", "right", "wrong", "outdated"] | None = None
    first: int = Field(0, ge=0, le=10**9, description="How many clips to pass over")


class Worklist(BaseModel):
    """A page of clips and how many there are.

    Attributes:
        clips: `clip_id`, `shard`, `step`, `status`, `reason`, `distance`, and of the person's own standing mark `verdict`.
        total, marked: of all clips that are wanted, whatever the page: how many, and how many of them the person has marked.
    """

    clips: list[dict[str, str | float | None]]
    total: int
    marked: int


def read_worklist(reader: Reader, wanted: Wanted, marker: str) -> Worklist:
    """The clips nearest to the threshold first. `marker`: whose marks count as done."""
    listed = _listed(reader, wanted, marker)
    counted = reader.sql(f"SELECT count(*) AS total, count(verdict) AS marked FROM ({listed})").row(0, named=True)
    clips = reader.sql(
        f"SELECT clip_id, shard, step, status, reason, distance, verdict FROM ({listed}) "
        f"ORDER BY distance NULLS LAST, clip_id, step LIMIT {PAGE_CLIPS} OFFSET {wanted.first}"
    )
    return Worklist(clips=clips.to_dicts(), total=counted["total"], marked=counted["marked"])


def decisions_now(reader: Reader, clip_ids: list[str]) -> pl.DataFrame:
    """`clip_id`, `status`, `step`, `reason` of those of the clips that rules have decided."""
    decided = " UNION ALL ".join(_decided(lambda _: "NULL", "NULL", f"list_contains({literal(clip_ids)}, clip_id)"))
    return reader.sql(
        f"SELECT DISTINCT ON (clip_id) clip_id, status, step, reason FROM ({decided}) ORDER BY clip_id, status DESC"
    )


def _listed(reader: Reader, wanted: Wanted, marker: str) -> str:
    """SQL: all clips that are wanted."""
    of_faces, of_identity = _distances(reader, wanted.measure)
    of_shard = f"shard = {quoted(wanted.shard)}" if wanted.shard else "true"
    decided = " UNION ALL ".join(_decided(of_faces, of_identity, of_shard))
    own = f"(SELECT * FROM {STANDING} WHERE marker = {quoted(marker)})"
    same = "own.status = d.status AND own.step = d.step AND own.reason IS NOT DISTINCT FROM d.reason"
    conditions = [
        *([f"d.status = {quoted(wanted.status)}"] if wanted.status else []),
        *([f"d.reason = {quoted(wanted.reason)}"] if wanted.reason else []),
        *(["d.distance IS NOT NULL"] if wanted.measure else []),
        *([f"d.distance <= {wanted.within}"] if wanted.within else []),
        *([_of_source(wanted.source)] if wanted.source else []),
        *([_of_person(wanted.person)] if wanted.person else []),
        *([_MARKED[wanted.marks].format(same=same)] if wanted.marks else []),
    ]
    return (
        f"SELECT d.*, CASE WHEN {same} THEN own.verdict END AS verdict FROM ({decided}) d "
        f"LEFT JOIN {own} own USING (clip_id) WHERE {' AND '.join(conditions) or 'true'}"
    )


_MARKED = {
    "none": "NOT coalesce({same}, false)",
    "mine": "{same}",
    "right": "{same} AND own.verdict = 'right'",
    "wrong": "{same} AND own.verdict = 'wrong'",
    "outdated": "own.mark_id IS NOT NULL AND NOT ({same})",
}


def _decided(of_faces: Callable[[str], str], of_identity: str, condition: str) -> list[str]:
    """SQL: `clip_id`, `shard`, `step`, `status`, `reason`, `distance` of kept clips and of those that a step rejected.

    Args:
        of_faces: status to the distance of rows of `pose_filtered_clips`, which have a row of every clip that came so far.
        of_identity: the distance of rows of `id_consistent_clips`.
    """
    faces, identity, last = POSE_FILTERED_CLIPS.name, ID_CONSISTENT_CLIPS.name, DUPLICATE_CLIPS.name
    passed = f"{faces} SEMI JOIN (SELECT clip_id FROM {last} WHERE status = '{Status.OK}') USING (clip_id)"
    if of_identity != "NULL" and of_faces(KEPT) == "NULL":  # asked by a measure of the identity alone
        passed, kept_distance = passed.replace(faces, identity, 1), of_identity
    else:
        kept_distance = of_faces(KEPT)
    parts = [
        f"SELECT clip_id, shard, '{last}' AS step, '{KEPT}' AS status, NULL AS reason, ({kept_distance})::DOUBLE AS distance "
        f"FROM {passed} WHERE status = '{Status.OK}' AND {condition}"
    ]
    for table, distance in ((FACE_CLIPS.name, "NULL"), (faces, of_faces(REJECTED)), (identity, of_identity), (last, "NULL")):
        parts.append(
            f"SELECT clip_id, shard, '{table}', '{REJECTED}', reason, ({distance})::DOUBLE FROM {table} "
            f"WHERE status = '{Status.REJECTED}' AND {condition}"
        )
    return parts


def _distances(reader: Reader, measure: str | None) -> tuple[Callable[[str], str], str]:
    """The distances to thresholds as `_decided` takes them; each row's by the policy that decided it."""
    policies = [
        (sha, FacePolicy.model_validate_json(text))
        for sha, text, _ in face_policies(reader).iter_rows()
        if measure != OUTLIER_SHARE
    ]

    def of_faces(status: str) -> str:
        if measure is not None:
            shares = [(sha, threshold_distance(policy, measure)) for sha, policy in policies]
        else:
            shares = [(sha, (spare_share if status == KEPT else miss_share)(policy)) for sha, policy in policies]
        return _by_policy(shares)

    if measure in FACE_MEASURES:
        return of_faces, "NULL"
    used = f"SELECT DISTINCT policy_sha256 FROM {ID_CONSISTENT_CLIPS.name}"
    settings = reader.sql(f"SELECT policy_sha256, settings FROM {POLICY_SETTINGS.name} WHERE policy_sha256 IN ({used})")
    one_person = [(sha, ConsistencyPolicy.model_validate_json(text)) for sha, text in settings.iter_rows()]
    shares = [
        (sha, f"abs({OUTLIER_SHARE} - {policy.max_outlier_share}) / {policy.max_outlier_share}")
        for sha, policy in one_person
        if policy.name in ("pose_gap", "medoid") and policy.max_outlier_share
    ]
    return of_faces, _by_policy(shares)


def _by_policy(shares: list[tuple[str, str]]) -> str:
    cases = " ".join(f"WHEN {quoted(sha)} THEN {share}" for sha, share in shares)
    return f"CASE policy_sha256 {cases} END" if cases else "NULL"


def _of_source(source: str) -> str:
    return (
        "coalesce((SELECT any_value(recording_id) FROM pieces WHERE pieces.clip_id = d.clip_id), d.clip_id) IN ("
        f"SELECT clip_contents.clip_id FROM clip_contents JOIN clip_rows USING (shard, clip_root, path) "
        f"WHERE source = {quoted(source)})"
    )


def _of_person(person: str) -> str:
    return f"d.clip_id IN (SELECT clip_id FROM {IDENTITY_CLUSTERS.name} WHERE starts_with(identity_id, {quoted(person)}))"
