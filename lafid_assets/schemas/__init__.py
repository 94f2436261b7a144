"""One contract a table: from it follow the Parquet types, the DuckDB columns, the blocking checks and the documentation.

Belongs here: the tables and their columns. Not here: what a contract can do (`contract`), how a row is computed
(the chapters).
"""

from lafid_assets.schemas.bench import LAFID_BENCH
from lafid_assets.schemas.clips import (
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROOTS,
    CLIP_ROWS,
    CLIPS,
    FOOTAGE,
    PIECES,
    RAW_CLIPS,
    RECORDINGS,
)
from lafid_assets.schemas.decisions import (
    DUPLICATE_CLIPS,
    DUPLICATE_PAIRS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    IDENTITY_EDGES,
    IDENTITY_HISTORY,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    SIMILARITY_BY_POSE_GAP,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.schemas.evaluation import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from lafid_assets.schemas.measures import (
    FACE_CLIPS,
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    FACES,
    PICTURE_HASHES,
    PICTURE_MEASURES,
    SHOT_BOUNDARIES,
)
from lafid_assets.schemas.products import (
    DATASET_OUTCOMES,
    DATASET_REPORT,
    DATASET_VERSION_ROWS,
    DATASET_VERSIONS,
    FUSION_DIT,
    LAFID_DATASET,
    REFERENCE_CROPS,
    TRAINING_LATENTS,
)
from lafid_assets.schemas.registry import JUDGEMENTS, PROMOTIONS, REGISTERED_MODEL
from lafid_assets.schemas.review import MARKS
from lafid_assets.schemas.speech import SPEECH_INFO
from lafid_assets.steps.contract import TableSchema

TABLES: tuple[TableSchema, ...] = (
    CLIP_ROOTS,
    CLIP_FILES,
    CLIP_ROWS,
    CLIP_CONTENTS,
    CLIPS,
    RECORDINGS,
    PIECES,
    FOOTAGE,
    RAW_CLIPS,
    POLICY_SETTINGS,
    FACE_INFO,
    FACE_EMBEDDINGS,
    FACES,
    FACE_FRAMES,
    PICTURE_HASHES,
    SHOT_BOUNDARIES,
    FACE_CLIPS,
    PICTURE_MEASURES,
    POSE_FILTERED_CLIPS,
    ID_CONSISTENT_CLIPS,
    SIMILARITY_BY_POSE_GAP,
    IDENTITY_CLUSTERS,
    IDENTITY_EDGES,
    IDENTITY_HISTORY,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
    DUPLICATE_CLIPS,
    DUPLICATE_PAIRS,
    MARKS,
    REFERENCE_CROPS,
    LAFID_DATASET,
    DATASET_VERSION_ROWS,
    DATASET_OUTCOMES,
    DATASET_VERSIONS,
    DATASET_REPORT,
    TRAINING_LATENTS,
    FUSION_DIT,
    LAFID_BENCH,
    MODEL_EVALUATION,
    EVALUATED_VIDEOS,
    EVALUATED_FRAMES,
    JUDGEMENTS,
    PROMOTIONS,
    REGISTERED_MODEL,
)

BY_NAME: dict[str, TableSchema] = {table.name: table for table in TABLES}

# A clip's outcome is decided by the first of these in which it is not ok: what the funnel calls it, and the table that says so.
OUTCOME_TABLES = {
    RAW_CLIPS.name: CLIPS.name,
    FACE_CLIPS.name: FACE_CLIPS.name,
    POSE_FILTERED_CLIPS.name: POSE_FILTERED_CLIPS.name,
    ID_CONSISTENT_CLIPS.name: ID_CONSISTENT_CLIPS.name,
    SPEECH_INFO.name: SPEECH_INFO.name,
    SPEECH_TAGGED_CLIPS.name: SPEECH_TAGGED_CLIPS.name,
    DUPLICATE_CLIPS.name: DUPLICATE_CLIPS.name,
}

FOOTAGE_TABLES = (CLIPS.name, PIECES.name)
"""What the view `footage` shows."""
