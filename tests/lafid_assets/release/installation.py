"""An installation with a checkpoint, its evaluation and a bench, for the tests of `registered_model`."""

import json
from collections.abc import Callable
from typing import Any

import dagster as dg

from lafid_assets.release.bench_folder import folder_of, put_bench
from lafid_assets.release.registered_model import registered_model
from lafid_assets.schemas import (
    DATASET_VERSION_ROWS,
    DATASET_VERSIONS,
    EVALUATED_VIDEOS,
    FUSION_DIT,
    JUDGEMENTS,
    LAFID_BENCH,
    LAFID_DATASET,
    MODEL_EVALUATION,
)
from model.evaluation.bench import Bench, seal_bench
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking
from tests.model.evaluation.benches import small_facts

PERSONS = 8
WAN = {"name": "wan2.2-ti2v-5b", "layout": "ti2v", "repository": "Wan-AI/Wan2.2", "revision": "c0ffee", "sha256": "9" * 64}
TINY = {"name": "tiny", "layout": "ti2v", "repository": None, "revision": None, "sha256": "8" * 64}


def versions_of(tracking: Tracking) -> list[Any]:
    """All versions of the model `lafid`, by their numbers, with their tags."""
    return sorted(tracking.connect().search_model_versions("name = 'lafid'"), key=lambda version: int(version.version))


class Release:
    """An installation with a checkpoint, its evaluation and a bench, and what the registry holds afterwards."""

    def __init__(self, lake: Lake, tracking: Tracking, row_of: Callable[..., dict[str, Any]]) -> None:
        self.lake, self.tracking, self.row_of = lake, tracking, row_of
        self.instance = dg.DagsterInstance.ephemeral()
        self.measured: dict[str, float] = {}
        self.losses: dict[str, float] = {}
        facts, pictures = small_facts()
        self.bench: Bench = seal_bench(facts, pictures)
        put_bench(lake.store, self.bench, pictures)
        named = {"bench_version": self.bench.version, "bench_path": folder_of(self.bench.version), "bench_name": "small"}
        self._put("lafid_bench", LAFID_BENCH.frame([row_of(LAFID_BENCH, begins="window", **named)]))
        clip = {"clip_id": "trained", "split": "train", "source": "OpenHumanVid", "licence": "CC-BY-NC-ND-4.0"}
        clip |= {
            "engine": "dlib",
            "engine_licence": "non-commercial-research",
            "model_licences": ["dlib: non-commercial-research"],
        }
        clip |= {"dataset_version": "v1", "identity_embedding": [1.0] * 4, "content_sha256": "trained", "identity_id": "trained"}
        row = row_of(LAFID_DATASET, **clip)
        lake.put(
            {"lafid_dataset": LAFID_DATASET.frame([row]), "dataset_version_rows": DATASET_VERSION_ROWS.frame([row])}, "all", "f"
        )
        funnel = [{"status": "kept", "step": "", "reason": "", "clips": 1}]
        decided = json.dumps({"pose_filtered_clips": {"policy": ["cofe"]}})
        version = row_of(
            DATASET_VERSIONS,
            dataset_version="v1",
            number=1,
            clips=1,
            clips_in=3,
            erased_clips=0,
            funnel=funnel,
            decided_by=decided,
        )
        self._put("dataset_versions", DATASET_VERSIONS.frame([version]))

    def _put(self, table: str, frame: Any) -> None:
        self.lake.put({table: frame}, "all", "f")

    def train(
        self, checkpoint: str, similarity: float = 0.5, *, base: dict[str, Any] = WAN, loss: float = 0.7, **facts: Any
    ) -> None:
        """A new checkpoint, which becomes the one of `fusion_dit`, and is evaluated beside all before it."""
        folder = self.lake.store.local_path(f"runs/{checkpoint}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lafid.json").write_text(json.dumps({"base": base}))
        known = {
            "checkpoint_sha256": checkpoint,
            "checkpoint_path": f"runs/{checkpoint}",
            "dataset_version": "v1",
            "preset": "tiny",
        }
        known |= {"loss_before": 1.0, "loss_after": 0.5} | facts
        self._put("fusion_dit", FUSION_DIT.frame([self.row_of(FUSION_DIT, **known)]))
        self.measured[checkpoint] = similarity
        self.losses[checkpoint] = loss
        self.evaluate()

    def evaluate(self, *, only: tuple[str, ...] | None = None) -> None:
        rows, videos = [], []
        for checkpoint, similarity in self.measured.items():
            if only is not None and checkpoint not in only:
                continue
            measures = {"flow_loss": self.losses[checkpoint], "first_frame_psnr_db": 35.0, "pose_binned_similarity": similarity}
            for name, value in measures.items():
                bench = "" if name == "flow_loss" else self.bench.version
                known = {"checkpoint_sha256": checkpoint, "bench_version": bench, "split": "test", "metric": name, "value": value}
                ends = {} if name == "flow_loss" else {"low": value - 0.01, "high": value + 0.01}
                rows.append(self.row_of(MODEL_EVALUATION, **known, **ends, persons=PERSONS))
            videos += [
                self.row_of(
                    EVALUATED_VIDEOS,
                    checkpoint_sha256=checkpoint,
                    bench_version=self.bench.version,
                    case_id=f"case-{person}",
                    identity_id=f"person-{person}",
                    pose_binned_similarity=similarity,
                )
                for person in range(PERSONS)
            ]
        self._put("model_evaluation", MODEL_EVALUATION.frame(rows))
        self._put("evaluated_videos", EVALUATED_VIDEOS.frame(videos))

    def run(self, **config: Any) -> dict[str, Any]:
        done = self.attempt(**config)
        assert done.success
        return self.lake.read("registered_model").row(0, named=True)

    def attempt(self, **config: Any) -> dg.ExecuteInProcessResult:
        settings = Settings(home=self.lake.home, store_uri=self.lake.store.uri)
        resources = {"settings": settings, "lake": self.lake, "tracking": self.tracking}
        ops = {"ops": {"registered_model": {"config": config}}}
        self.last = dg.materialize(
            [registered_model], instance=self.instance, resources=resources, run_config=ops, raise_on_error=False
        )
        return self.last

    def leak(self) -> None:
        """A clip of the bench was trained on."""
        row = self.lake.read("dataset_version_rows").row(0, named=True)
        source = self.bench.cases[0]
        row |= {"clip_id": source.clip_id, "content_sha256": source.content_sha256}
        self._put("dataset_version_rows", DATASET_VERSION_ROWS.frame([row]))

    def forget(self) -> None:
        self.lake.commit(lambda writer: writer.cursor.execute("UPDATE dataset_versions SET erased_clips = 1"))

    @property
    def client(self) -> Any:
        return self.tracking.connect()

    @property
    def versions(self) -> list[Any]:
        return versions_of(self.tracking)

    @property
    def aliases(self) -> dict[str, str]:
        return {alias: str(version) for alias, version in self.tracking.registered_model("lafid").aliases.items()}

    @property
    def judgements(self) -> list[dict[str, Any]]:
        return self.lake.sql(f"SELECT * FROM {JUDGEMENTS.name} ORDER BY judged_at").to_dicts()
