"""A node that is not fit for a run says so in the run's first step, before anything is touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lafid_assets.dataset.lafid_dataset import lafid_dataset
from lafid_assets.runs import preflight
from lafid_assets.runs.instance import Instance, is_cluster
from lafid_assets.runs.preflight import PLACE_TAG, SOFTWARE_TAG, NodeUnfit, carried, differences, refuse_unfit, refuse_wrong_clock
from lafid_assets.runs.run_failure import RunFailed, told_in_one_line
from resources.lake.catalog import Catalog, CatalogUnusable
from resources.lake.catalog_cluster import Cluster, claim
from resources.lake.lake import Lake
from resources.postgres import Facts
from resources.settings import PROJECT_ROOT, Settings
from resources.software import Software
from resources.store.file_store import StoreUnusable
from tests.lafid_assets.road import failure

OTHER = str(Software("0.0.1", "aaaaaaaa", Software.here().packages, Software.here().python))
HOUR_S = 3600.0


def _run(lake: Lake, settings: Settings, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    resources = {"lake": lake, "settings": settings}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([lafid_dataset], instance=instance, resources=resources, tags=tags, raise_on_error=False)


def test_a_node_with_another_version_refuses_in_the_first_step(lake: Lake, settings: Settings) -> None:
    here = Software.here()
    run = _run(lake, settings, {SOFTWARE_TAG: OTHER})
    assert failure(run, "lafid_dataset") == (
        "lafid_dataset failed: this node runs another LaFID than the run was submitted with (lafid 0.0.1 there, lafid "
        f"{here.lafid} here; code aaaaaaaa there, code {here.code} here): install the same checkout and lock on every node "
        "(`lafid doctor` compares), restart Dagster's servers, and execute the run again"
    )
    assert not lake.stamps(), "nothing was touched"
    refuse_unfit(settings, carried(), None)


def test_a_job_that_is_no_asset_is_refused_too() -> None:
    @dg.op
    def tidy(context: dg.OpExecutionContext) -> None:
        with told_in_one_line(context):
            raise AssertionError("reached")

    @dg.job
    def tidying() -> None:
        tidy()

    with pytest.raises(RunFailed, match="another LaFID than the run was submitted with"):
        tidying.execute_in_process(tags={SOFTWARE_TAG: OTHER})


def test_differences_are_named_and_a_tag_of_another_form_differs() -> None:
    assert differences(str(Software.here())) == []
    assert len(differences(OTHER)) == 2
    assert differences("something else") != []
    assert differences("") != []


def test_a_clock_an_hour_off_is_refused(postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told = settings.model_copy(update={"catalog_address": postgres_url})
    refuse_unfit(told, carried(), None)
    monkeypatch.setattr(preflight.postgres, "facts", lambda url: Facts("x", HOUR_S))
    with pytest.raises(
        NodeUnfit, match=rf"this node's clock is 3600 s ahead of that of the catalog {postgres_url}: set the clock"
    ):
        refuse_unfit(told, carried(), None)
    with pytest.raises(NodeUnfit, match="3600 s behind"):
        refuse_wrong_clock(-HOUR_S, "S3")
    refuse_wrong_clock(30, "S3")


def test_a_second_cluster_on_a_catalog_is_refused(postgres_url: str, settings: Settings) -> None:
    told = settings.model_copy(update={"catalog_address": postgres_url})
    claim(Catalog(postgres_url), Cluster("another/1", "postgresql://me@elsewhere/dagster"))
    with pytest.raises(
        CatalogUnusable, match="the cluster whose Dagster is postgresql://me@elsewhere/dagster works on the catalog"
    ):
        refuse_unfit(told, carried(), postgres_url.replace("postgresql:", "postgresql+psycopg2:"))
    refuse_unfit(told, {}, None)  # a home of its own may share the catalog


def test_a_store_that_it_may_not_write_is_refused_on_one_machine_too(lake: Lake, settings: Settings, bucket: str) -> None:
    told = settings.model_copy(update={"store_uri": f"s3://{bucket}-of-others/lafid"})
    with pytest.raises(StoreUnusable, match="cannot write into the store"):
        refuse_unfit(told, {}, None)
    assert "cannot write into the store" in failure(_run(lake, told, {}), "lafid_dataset")


@pytest.fixture
def instance(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, request: Any) -> Iterator[Instance]:
    """The installation's own, with another launcher where the test names one."""
    told = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    if launcher := getattr(request, "param", None):
        told["run_launcher"] = {"module": "dagster._core.test_utils", "class": launcher}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told))
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(tmp_path / "dagster.yaml"))
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance, Instance)
        yield instance


@pytest.mark.parametrize(("instance", "goes_out"), [("MockedRunLauncher", True), (None, False)], indirect=["instance"])
def test_a_run_that_goes_out_carries_what_it_was_submitted_with(
    instance: Instance, goes_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose parent carried something else."""

    @dg.job
    def empty() -> None:
        """Nothing."""

    run = instance.create_run_for_job(empty, tags={SOFTWARE_TAG: OTHER})
    monkeypatch.setattr(dg.DagsterInstance, "submit_run", lambda self, run_id, workspace: self.get_run_by_id(run_id))
    tags = instance.submit_run(run.run_id, None).tags
    assert is_cluster(instance) == goes_out
    assert (tags[SOFTWARE_TAG], PLACE_TAG in tags) == ((str(Software.here()), True) if goes_out else (OTHER, False))
