"""`lafid curate` where runs go out: what it asks for, what it joins, what it makes of their ends. No server is asked."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from lafid_assets.cli import cluster as module
from lafid_assets.cli.cluster import ASKED_TAG, BY_TAG, Cluster
from lafid_assets.cli.funnel import read_funnel
from lafid_assets.cli.materialize import CurationChoices, Materializer, RunFailed, open_materializer
from lafid_assets.ingest import raw_clips
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.jobs import PER_SHARD
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.steps.partitions import ends_of, run_tags
from resources.settings import Settings
from resources.transient_errors import Transient

ORDER = list("abcdef")
Status = dg.DagsterRunStatus


class Webserver:
    """Stands for Dagster's: a run that is asked for is noted, or done at once."""

    shown = "http://dagster:3000"

    def __init__(self, work: Callable[[Sequence[str], Mapping[str, Any], dict[str, str]], str]) -> None:
        self.work, self.asked = work, 0

    def ask(self, assets: Sequence[str], ops: Mapping[str, Any], tags: dict[str, str]) -> str:
        self.asked += 1
        return self.work(assets, ops, tags)

    def page(self, run_id: str) -> str:
        return f"{self.shown}/runs/{run_id}"

    def listing(self, tag: str, value: str) -> str:
        return f"{self.shown}/runs?{tag}={value}"


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    kept = dg.DagsterInstance.ephemeral()
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: kept)
    return kept


@pytest.fixture
def going_out(settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Materializer:
    """An installation whose runs go out to a node that does each at once."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    opened = open_materializer(settings)

    def node(assets: Sequence[str], ops: Mapping[str, Any], tags: dict[str, str]) -> str:
        partition = ends[0] if (ends := ends_of(tags)) and ends[0] == ends[1] else None
        done = opened.job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            partition_key=partition,
            run_config={"ops": ops},
            tags={name: value for name, value in tags.items() if partition is None or name != "dagster/partition"},
            raise_on_error=False,
        )
        return done.run_id

    opened.cluster = Cluster(instance, Webserver(node), opened.lake, opened._count)  # type: ignore[arg-type]
    return opened


@pytest.mark.usefixtures("quick_charts")
def test_a_cluster_curates_as_one_machine_does(
    going_out: Materializer, settings: Settings, bad_files: Path, instance: dg.DagsterInstance, curated: tuple[Path, str]
) -> None:
    shards = list(register(going_out.lake, list_files(bad_files), 1).shards)
    going_out.curate(shards, CurationChoices())
    here = Settings(home=curated[0], store_uri=str(curated[0] / "store"))
    assert read_funnel(settings) == read_funnel(here)
    assert settings.published_path.is_file()
    assert {f"raw_clips {shard}" for shard in shards} <= set(going_out.tally.computed)
    curation, refresh = sorted(
        instance.get_runs(), key=lambda run: run.run_id in {run.run_id for run in instance.get_runs(limit=1)}
    )
    assert ends_of(curation.tags) == (shards[0], shards[-1])
    assert {BY_TAG, ASKED_TAG, SETTINGS_TAG} <= curation.tags.keys() & refresh.tags.keys()
    going_out.curate(shards, CurationChoices())
    assert instance.get_runs_count() == 2, "what is current is asked for by nobody"
    settings.published_path.unlink()
    going_out.refresh()
    assert settings.published_path.is_file(), "of a refresh the node writes a copy into its own home"
    assert instance.get_runs_count() == 2


def test_a_shard_that_fails_elsewhere_is_named_with_its_cause_and_page(
    going_out: Materializer, bad_files: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = list(register(going_out.lake, list_files(bad_files), 500).shards)

    def fail(*_: Any) -> None:
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(raw_clips, "probe_files", fail)
    with pytest.raises(RunFailed, match=r"raw_clips \(shard-.*the disk caught fire.* \[log: http://dagster:3000/runs/"):
        going_out.curate(shards, CurationChoices())
    assert instance.get_runs_count() == 1, "the dataset is left as it is"


class Records:
    """A cluster whose runs do what a test says, on shards of which `stale` are not current."""

    def __init__(self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instance, self.stale = instance, set(ORDER)
        self.numbers, self.looks = itertools.count(), 0
        self.then: list[Callable[[], None]] = []
        lake: Any = SimpleNamespace(snapshot=nullcontext, leases=SimpleNamespace(held=lambda name: nullcontext()))
        self.webserver = Webserver(lambda assets, ops, tags: self.add(Status.NOT_STARTED, tags=tags))
        self.cluster = Cluster(instance, self.webserver, lake, lambda _: None)  # type: ignore[arg-type]
        monkeypatch.setattr(module, "configured", lambda assets, ops: [])
        monkeypatch.setattr(module, "deciding_sha256", lambda ops: "1234567890abcdef0")
        monkeypatch.setattr(
            module, "stale_shards", lambda _reader, _steps, shards: dict.fromkeys(sorted(self.stale & set(shards)), "")
        )
        monkeypatch.setattr(module.time, "sleep", self._sleep)
        monkeypatch.setattr(module, "SECONDS_BETWEEN_COUNTS", 0.0)
        monkeypatch.setattr(module, "SHARE_OF_COUNTING", float("inf"))

    def _sleep(self, _seconds: float) -> None:
        self.looks += 1
        assert self.looks < 100, "nothing happens any more"
        if self.then:
            self.then.pop(0)()

    def add(self, status: Status, *, tags: Mapping[str, str]) -> str:
        run = dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id=f"00000000-0000-4000-8000-{next(self.numbers):012d}",
            asset_selection=frozenset(dg.AssetKey(name) for name in PER_SHARD),
            tags=dict(tags),
            status=status,
        )
        self.instance.add_run(run)
        return run.run_id

    def ids(self) -> list[str]:
        return sorted(run.run_id for run in self.instance.get_runs())

    def begin(self, run_id: str) -> None:
        self._report(run_id, dg.DagsterEventType.RUN_START)

    def succeed(self, run_id: str) -> None:
        """With all its shards."""
        first, last = ends_of(self.instance.get_run_by_id(run_id).tags)  # type: ignore[union-attr,misc]
        self.stale -= set(ORDER[ORDER.index(first) : ORDER.index(last) + 1])
        self.begin(run_id)
        self._report(run_id, dg.DagsterEventType.RUN_SUCCESS)

    def fail(self, run_id: str, *, begun: bool = True) -> None:
        if begun:
            self.begin(run_id)
        self._report(run_id, dg.DagsterEventType.RUN_FAILURE)

    def _report(self, run_id: str, kind: dg.DagsterEventType) -> None:
        self.instance.report_dagster_event(dg.DagsterEvent(kind.value, "__ASSET_JOB", message="by the test"), run_id)

    def curate(self, shards: Sequence[str] = ORDER, most: int = 3) -> list[str]:
        return self.cluster.bring(PER_SHARD, "curating", {}, list(shards), ORDER, most)


@pytest.fixture
def records(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Records:
    return Records(instance, monkeypatch)


SETTINGS = {SETTINGS_TAG: "1234567890abcdef"}


def test_neighbours_share_a_run_and_all_are_watched(records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    records.then = [lambda: records.succeed(records.ids()[0]), lambda: records.succeed(records.ids()[1])]
    assert records.curate() == []
    tags = [records.instance.get_run_by_id(run).tags for run in records.ids()]  # type: ignore[union-attr]
    assert [ends_of(told) for told in tags] == [("a", "c"), ("d", "f")]
    assert "curating: asked for 2 runs" in capsys.readouterr().out


def test_what_is_on_its_way_is_joined_and_not_asked_for_again(records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    other = records.add(Status.NOT_STARTED, tags=SETTINGS | run_tags(["b", "c"]))
    records.add(Status.NOT_STARTED, tags={SETTINGS_TAG: "of other settings"} | run_tags(["a"]))
    records.add(Status.CANCELING, tags=SETTINGS | run_tags(["e"]))
    records.then = [lambda: [records.succeed(run) for run in (other, *records.ids()[3:])] and None]
    assert records.curate() == []
    asked = [ends_of(records.instance.get_run_by_id(run).tags) for run in records.ids()[3:]]  # type: ignore[union-attr]
    assert asked == [("a", "a"), ("d", "f")]
    assert "asked for 2 runs, joined 1 that were on their way" in capsys.readouterr().out


def test_what_another_run_did_not_bring_to_its_end_is_asked_for(records: Records) -> None:
    other = records.add(Status.NOT_STARTED, tags=SETTINGS | run_tags(["a", "b"]))

    def leave_one() -> None:
        records.succeed(other)
        records.stale.add("b")

    records.then = [leave_one, lambda: None, lambda: records.succeed(records.ids()[-1])]
    assert records.curate(["a", "b"]) == []
    assert ends_of(records.instance.get_run_by_id(records.ids()[-1]).tags) == ("b", "b")  # type: ignore[union-attr]


def test_a_run_that_was_lost_before_it_began_is_asked_for_again(records: Records) -> None:
    records.then = [lambda: records.fail(records.ids()[0], begun=False), lambda: None, lambda: records.succeed(records.ids()[1])]
    assert records.curate(["a"]) == []
    assert records.webserver.asked == 2


def test_what_never_begins_is_given_up_with_the_remedy(records: Records) -> None:
    records.then = [lambda: records.fail(records.ids()[-1], begun=False)] * 10
    assert records.curate(["a"]) == ["curating a: no run began in 3 tries: see whether the cluster's nodes are up"]


def test_a_run_whose_node_was_lost_is_followed_to_its_next_try(records: Records) -> None:
    def lose() -> None:
        records.instance.add_run_tags(records.ids()[0], {WILL_RETRY_TAG: "true"})
        records.fail(records.ids()[0])

    def try_again() -> None:
        again = records.add(Status.NOT_STARTED, tags=run_tags(["a"]))
        records.instance.add_run_tags(records.ids()[0], {AUTO_RETRY_RUN_ID_TAG: again})

    records.then = [lose, try_again, lambda: records.succeed(records.ids()[1])]
    assert records.curate(["a"]) == []
    assert "a" not in records.stale, "the next try was waited for"
    assert records.webserver.asked == 1


def test_a_run_of_which_dagster_has_not_decided_yet_is_not_settled(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its daemon, or a node, writes that a run failed and, a moment later, that it is tried again."""

    def lose() -> None:
        records.fail(records.ids()[0])
        monkeypatch.setattr(dg.DagsterInstance, "run_retries_enabled", True)

    def decide() -> None:
        again = records.add(Status.NOT_STARTED, tags=run_tags(["a"]))
        records.instance.add_run_tags(records.ids()[0], {WILL_RETRY_TAG: "true", AUTO_RETRY_RUN_ID_TAG: again})

    records.then = [lose, lambda: None, decide, lambda: records.succeed(records.ids()[1])]
    assert records.curate(["a"]) == []
    assert records.webserver.asked == 1


def test_a_sleeper_that_wakes_and_fails_once_more_hides_no_successor(records: Records) -> None:
    """Dagster then takes back that the run is tried again, which it was long ago."""

    def lose() -> None:
        again = records.add(Status.NOT_STARTED, tags=run_tags(["a"]))
        records.fail(records.ids()[0])
        records.instance.add_run_tags(records.ids()[0], {WILL_RETRY_TAG: "false", AUTO_RETRY_RUN_ID_TAG: again})

    records.then = [lose, lambda: records.succeed(records.ids()[1])]
    assert records.curate(["a"]) == []


def test_a_killed_run_whose_shards_another_has_written_is_no_failure(records: Records) -> None:
    def kill() -> None:
        first, second = records.ids()
        records.fail(first)
        records.fail(second)
        records.stale -= set("abc")

    records.then = [kill]
    [failed] = records.curate()
    assert failed.endswith(f"[log: http://dagster:3000/runs/{records.ids()[1]}]")
    assert records.webserver.asked == 2


def test_a_run_whose_records_somebody_deleted_is_asked_for_again(records: Records) -> None:
    def delete() -> None:
        records.instance.delete_run(records.ids()[0])

    records.then = [delete, lambda: None, lambda: records.succeed(records.ids()[0])]
    assert records.curate(["a"]) == []
    assert records.webserver.asked == 2


def test_runs_that_fail_or_are_cancelled_are_lines_and_stop_no_other(records: Records) -> None:
    def end() -> None:
        first, second, third = records.ids()
        records.fail(first)
        records._report(second, dg.DagsterEventType.RUN_CANCELED)
        records.succeed(third)

    records.then = [end]
    failed, cancelled = records.curate(most=2)
    assert failed.endswith(f"[log: http://dagster:3000/runs/{records.ids()[0]}]")
    assert cancelled.startswith("curating c, d: the run was cancelled: run it again, which computes only what is missing")


def test_who_interrupts_the_command_is_told_what_goes_on(
    records: Records, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        """As it comes out of DuckDB."""
        raise RuntimeError("Query interrupted") from KeyboardInterrupt()

    monkeypatch.setattr(records.cluster, "_look", interrupt)
    with pytest.raises(KeyboardInterrupt):
        records.curate()
    asked = records.cluster.asked
    said = f"2 runs go on in the cluster: the same command watches them again; cancel them at http://dagster:3000/runs?lafid/asked={asked}"
    assert said in capsys.readouterr().out


def test_records_that_are_away_for_a_while_end_nothing(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Transient):
        pass

    look, away = records.cluster._look, iter([Away("no answer"), Away("no answer")])

    def flaky(runs: Any) -> None:
        for error in away:
            raise error
        look(runs)

    monkeypatch.setattr(records.cluster, "_look", flaky)
    records.then = [lambda: records.succeed(records.ids()[0])]
    assert records.curate(["a"]) == []
    monkeypatch.setattr(records.cluster, "_look", lambda _: [][0])
    with pytest.raises(IndexError):
        records.curate(["b"])


def test_how_far_it_is_is_told_by_what_the_lake_holds(
    records: Records, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    records.then = [
        lambda: records.begin(records.ids()[0]),
        lambda: records.succeed(records.ids()[0]),
        lambda: records.succeed(records.ids()[1]),
    ]
    monkeypatch.setattr(module.LOGGER, "handlers", [caplog.handler])  # the screen keeps the lines from all others
    with caplog.at_level("INFO", module.LOGGER.name):
        records.curate()
    assert "0 of 6 shards done, 1 runs at work, 1 wait" in lines()
    assert any(line.startswith("3 of 6 shards done, 0 runs at work, 1 wait, about ") for line in lines())
