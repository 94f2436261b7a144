"""Do the kept clips show heads from all sides, and faces that move?

Belongs here: how many kept clips show a pose or a change of expression -> judgement. Not here: the bins (`model.likeness`, by
which models are judged, too), histograms for a page (`dataset.report_data`).
"""

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.judged import Judged, nothing_to_judge
from lafid_assets.schemas import FACE_CLIPS, FACE_INFO, LAFID_DATASET
from lafid_assets.schemas.measures import EXPRESSIONS
from model.likeness import CHANGED_EXPRESSION, YAW_BINS, YAW_EDGES_DEG
from resources.lake.reader import Reader

MEASURED_YAW = YAW_BINS[:-1]
"""Without the bin of faces whose pose is not known."""


def pose_coverage(clips_by_yaw: pl.DataFrame, bounds: CheckBounds) -> Judged:
    """How many of the kept clips show the main face in each bin of yaw. `clips_by_yaw`: as `kept_clips_by_yaw` gives it."""
    clips, measured = clips_by_yaw.select("clips", "measured").row(0)
    if not measured:
        return nothing_to_judge("no clip is kept" if not clips else f"no head pose was measured in the {clips} kept clips")
    shares = {name: clips_by_yaw[name].item() / measured for name in MEASURED_YAW}
    few = [f"{share:.1%} in {name}" for name, share in shares.items() if share < bounds.least_pose_share]
    told = f"of {measured} kept clips with a head pose, {', '.join(few) if few else 'enough show a face in each bin of yaw'}"
    return Judged(not few, told, {"clips_with_pose": measured, **{f"clips_{name}": share for name, share in shares.items()}})


def kept_clips_by_yaw(reader: Reader) -> pl.DataFrame:
    """One row: `clips` that are kept, `measured` of them with a main face of known pose, and for each of `MEASURED_YAW` how many
    show their main face so."""
    bin_of = " + ".join(f"(abs(yaw_deg) >= {edge})::INTEGER" for edge in YAW_EDGES_DEG)
    counted = ", ".join(f"count(*) FILTER (list_contains(bins, {number})) AS {name}" for number, name in enumerate(MEASURED_YAW))
    return reader.sql(
        f"""WITH shown AS (
            SELECT clip_id, list(DISTINCT {bin_of}) AS bins FROM {FACE_INFO.name}
            SEMI JOIN {LAFID_DATASET.name} USING (shard, clip_id)
            WHERE face_index = 0 AND yaw_deg IS NOT NULL GROUP BY clip_id)
        SELECT (SELECT count(*) FROM {LAFID_DATASET.name}) AS clips, count(*) AS measured, {counted} FROM shown"""
    )


def expression_coverage(changing: pl.DataFrame, bounds: CheckBounds) -> Judged:
    """In how many of the kept clips the main face's expression changes. `changing`: as `kept_clips_that_change` gives it."""
    clips, measured = changing.select("clips", "measured").row(0)
    if not measured:
        return nothing_to_judge("no clip is kept" if not clips else f"no expression was measured in the {clips} kept clips")
    changed = changing["changed"].item() / measured
    shares = {f"clips_{name}_changes": changing[name].item() / measured for name in EXPRESSIONS}
    told = f"the expression changes in {changed:.1%} of the {measured} kept clips in which it was measured"
    return Judged(
        changed >= bounds.least_expression_share,
        told,
        {"clips_with_expression": measured, "clips_expression_changes": changed, **shares},
    )


def kept_clips_that_change(reader: Reader) -> pl.DataFrame:
    """One row: `clips` that are kept, `measured` of them with the range of an expression, for each of `EXPRESSIONS` how many have
    a range as of a changed one, and `changed`, how many have any."""
    changes = {name: f"coalesce({name}_range >= {CHANGED_EXPRESSION}, false)" for name in EXPRESSIONS}
    counted = ", ".join(f"count(*) FILTER ({change}) AS {name}" for name, change in changes.items())
    known = f"coalesce({', '.join(f'{name}_range' for name in EXPRESSIONS)}) IS NOT NULL"
    return reader.sql(
        f"""SELECT count(*) AS clips, count(*) FILTER ({known}) AS measured, {counted},
            count(*) FILTER ({" OR ".join(changes.values())}) AS changed
        FROM {FACE_CLIPS.name} SEMI JOIN {LAFID_DATASET.name} USING (shard, clip_id)"""
    )
