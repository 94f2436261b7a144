"""What Dagster is shown."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.snap import JobSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from lafid_assets.definitions import ASSETS, build_defs, defs
from lafid_assets.jobs import ASSETS_OF, DATASET, PER_SHARD, PRECOMPUTE, RELEASE
from lafid_assets.lafid_toml.settings_check import deciding, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile, SettingsUnusable
from lafid_assets.lake import open_lake
from lafid_assets.schemas import BY_NAME
from resources.lake.lake import Lake
from resources.leases.leases import StoreBusy
from resources.settings import Settings

UPSTREAM = {
    "raw_clips": set(),
    "face_info": {"raw_clips"},
    "pose_filtered_clips": {"face_info"},
    "id_consistent_clips": {"pose_filtered_clips", "face_info"},
    "identity_clusters": {"id_consistent_clips"},
    "speech_info": {"raw_clips", "face_info", "id_consistent_clips"},
    "speech_tagged_clips": {"speech_info"},
    "reference_crops": {"raw_clips", "face_info", "speech_tagged_clips"},
    "duplicate_clips": {"speech_tagged_clips", "face_info"},
    "lafid_dataset": {
        "identity_clusters",
        "duplicate_clips",
        "reference_crops",
        "speech_tagged_clips",
        "id_consistent_clips",
        "pose_filtered_clips",
    },
    "dataset_report": {"lafid_dataset"},
    "training_latents": {"lafid_dataset"},
    "fusion_dit": {"training_latents"},
    "lafid_bench": {"lafid_dataset"},
    "model_evaluation": {"fusion_dit", "lafid_dataset", "lafid_bench"},
    "registered_model": {"fusion_dit", "lafid_bench", "model_evaluation"},
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = tmp_path_factory.mktemp("definitions") / "home"
    definitions = build_defs(Settings(home=home, store_uri=str(home / "store")))
    dg.Definitions.validate_loadable(definitions)
    assert not home.exists(), "loading the definitions must touch no disk"
    return definitions


def test_graph_holds_the_promised_assets_in_their_order(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == set(UPSTREAM)
    ancestors = {name: _ancestors(graph, name) for name in UPSTREAM}
    for name, needed in UPSTREAM.items():
        assert needed <= ancestors[name], f"{name} lacks {needed - ancestors[name]}"


def _ancestors(graph: object, name: str) -> set[str]:
    found: set[str] = set()
    waiting = [dg.AssetKey(name)]
    while waiting:
        for parent in graph.get(waiting.pop()).parent_keys:
            if parent.to_user_string() not in found:
                found.add(parent.to_user_string())
                waiting.append(parent)
    return found


def test_every_table_an_asset_reads_is_upstream_of_it(loaded: dg.Definitions) -> None:
    """Otherwise Dagster would run it before what it reads is there."""
    import importlib

    graph = loaded.resolve_asset_graph()
    steps = [importlib.import_module(asset.op.compute_fn.decorated_fn.__module__).STEP for asset in ASSETS]
    written_by = {table.name: step.asset for step in steps for table in step.writes if not table.appended}
    for step in steps:
        sources = {written_by[table] for table in step.reads if table in written_by}
        assert sources <= _ancestors(graph, step.asset), step.asset


def test_assets_are_partitioned_as_their_tables(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    for name in UPSTREAM:
        assert graph.get(dg.AssetKey(name)).is_partitioned == BY_NAME[name].partitioned, name


def test_every_asset_has_the_blocking_checks_of_its_contract(loaded: dg.Definitions) -> None:
    checks = loaded.resolve_asset_graph().asset_check_keys
    for name in UPSTREAM:
        own = {key.name for key in checks if key.asset_key == dg.AssetKey(name)}
        assert "contract" in own, name
        rows_are_clips = BY_NAME[name].partitioned and name != "reference_crops"  # `lafid_dataset` misses a clip without one
        assert ("counts_add_up" in own) == rows_are_clips, name
    assert any(key.name == "one_split_each" for key in checks)


def test_every_asset_says_what_it_is(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    for name in UPSTREAM:
        node = graph.get(dg.AssetKey(name))
        assert node.description, name
        assert node.group_name in ("ingest", "curation", "dataset", "training", "release"), name
        assert node.code_version, name
        assert re.fullmatch(r"\S.*\.\n\n\S.*\.\s*", node.description, re.DOTALL), f"{name}: what it means, and who needs it"
        assert node.tags["lafid/opens"] in ("videos", "tables"), name


def test_the_ui_opens_the_source_of_an_asset(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    for name in UPSTREAM:
        [place] = graph.get(dg.AssetKey(name)).metadata["dagster/code_references"].code_references
        lines = Path(place.file_path).read_text().splitlines()[place.line_number - 1 :]
        assert Path(place.file_path).stem == name
        assert next(line for line in lines if line.startswith("def ")).startswith(f"def {name}("), name
        assert lines[0].startswith("@STEP.as_asset"), name


def test_only_what_the_file_names_runs_by_a_clock(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "lafid.toml").write_text('[checks]\noverdue_hours = { fusion_dit = 200.0 }\n[training]\npreset = "tiny"\n')
    graph = build_defs(settings).resolve_asset_graph()
    clocks = {name: graph.get(dg.AssetKey(name)).freshness_policy for name in UPSTREAM}
    assert clocks.pop("fusion_dit") == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=200))
    assert set(clocks.values()) == {None}


def test_jobs_cover_all_assets_once(loaded: dg.Definitions) -> None:
    assert sorted((*PER_SHARD, *DATASET, *PRECOMPUTE, *RELEASE)) == sorted(UPSTREAM)
    for job, names in ASSETS_OF.items():
        found = loaded.resolve_job_def(job).asset_layer.executable_asset_keys
        assert {key.to_user_string() for key in found} == set(names)


def test_only_the_gpu_is_guarded_by_a_pool(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    pooled = {name for name in UPSTREAM if graph.get(dg.AssetKey(name)).pools == {"gpu"}}
    assert pooled == {"training_latents", "fusion_dit", "model_evaluation", "registered_model"}


@pytest.mark.parametrize("text", ["[face_info\nengine =", "[automation]\nrefresh_cron = 'at two'\n"])
def test_a_file_of_settings_that_cannot_be_used_costs_no_page(settings: Settings, text: str) -> None:
    """Dagster's page would say that the code location is broken, and show nothing else."""
    settings.home.mkdir()
    (settings.home / "lafid.toml").write_text(text)
    with pytest.raises(SettingsUnusable) as refused:
        ops_of(SettingsFile.of(settings.home), {})
    definitions = build_defs(settings)
    assert definitions.metadata["lafid.toml cannot be used"].value == str(refused.value)
    clocks = {schedule.name: schedule.cron_schedule for schedule in definitions.schedules}
    assert clocks["nightly_refresh"] == "0 2 * * *"
    run = definitions.resolve_job_def("refresh_dataset").execute_in_process(raise_on_error=False)
    failures = [event.step_failure_data.error.cause.message for event in run.get_step_failure_events()]
    assert len(failures) == 2
    assert all(str(refused.value) in message for message in failures)


def test_entry_point_of_the_workspace_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path))
    names = {key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()}
    assert names == set(UPSTREAM)


def test_resources_can_be_replaced(settings: Settings) -> None:
    assert build_defs(settings, {"store": "another"}).resources["store"] == "another"


def test_a_run_keeps_others_from_being_alone_in_the_store(settings: Settings) -> None:
    """As long as an asset is at work, and no longer."""
    told: list[str] = []
    leases = open_lake(settings).leases

    @dg.asset(required_resource_keys={"lake"})
    def working(context: dg.AssetExecutionContext) -> None:
        with pytest.raises(StoreBusy, match="a Dagster run") as busy, leases.alone("lafid forget"):
            pass
        told.append(str(busy.value))
        assert isinstance(context.resources.lake, Lake)

    resources = build_defs(settings).resources
    assert dg.materialize([working], resources={"lake": (resources or {})["lake"]}).success
    assert told
    with leases.alone("lafid forget"):
        pass


def test_every_asset_uses_what_holds_the_store(loaded: dg.Definitions) -> None:
    for asset in ASSETS:
        assert "lake" in asset.required_resource_keys


def _shown(definitions: dg.Definitions) -> dict[str, Any]:
    """Asset to its lines as a launchpad opens with them."""
    snap = JobSnap.from_job_def(definitions.resolve_implicit_global_asset_job_def())
    schema = snap.config_schema_snapshot
    root = schema.get_config_snap(snap.mode_def_snaps[0].root_config_key)
    ops = yaml.safe_load(default_values_yaml_from_type_snap(schema, root))["ops"]
    return {asset: told["config"] for asset, told in ops.items()}


def test_a_launchpad_opens_with_what_the_file_tells(settings: Settings) -> None:
    """It names every line that it shows to its run: with the defaults in them, none of the file's would be left."""
    settings.home.mkdir()
    policy = '[pose_filtered_clips]\npolicy = "faithfulfaces"\npose_variation_min_deg = 90.0\n'
    (settings.home / "lafid.toml").write_text(f'{policy}[engine]\nengine = "dlib"\n[face_info.limits]\nworkers = 1\n')
    shown = _shown(build_defs(settings))
    assert (shown["face_info"]["engine"], shown["face_info"]["limits"]["workers"]) == ("dlib", 1)
    file = SettingsFile.of(settings.home)
    opened = {asset: {"config": lines} for asset, lines in shown.items()}
    assert deciding(ops_of(file, opened)) == deciding(ops_of(file, {}))


def test_a_wrong_line_is_left_to_the_runs_to_refuse(settings: Settings, loaded: dg.Definitions) -> None:
    settings.home.mkdir()
    (settings.home / "lafid.toml").write_text(
        '[pose_filtered_clips]\npolicy = "coffee"\n[face_info]\nrate = 1\n[nothing]\nx = 1\n'
    )
    assert _shown(build_defs(settings)) == _shown(loaded)
