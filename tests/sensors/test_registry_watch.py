"""What moves in the registry appears in Dagster: nothing twice, nothing forgotten."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.lake import open_lake
from lafid_assets.release.promotion import at_registry, promotions_of
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking
from sensors import registry_watch as module
from sensors.registry_watch import ASSET, registry_watch

Tick = Callable[..., dg.SensorResult | dg.SkipReason]


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def tick(lake: Lake, tracking: Tracking, instance: dg.DagsterInstance) -> Tick:
    """One tick, as the daemon has it: events first, the cursor afterwards; `dies` in between."""
    cursors: list[str | None] = [None]

    def evaluate(*, dies: bool = False, at: Tracking = tracking) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance, cursor=cursors[-1])
        result = registry_watch(context, lake=lake, tracking=at)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            for event in result.asset_events:
                instance.report_runless_asset_event(event)
            if not dies:
                cursors.append(result.cursor)
        return result

    return evaluate


def _told(instance: dg.DagsterInstance) -> list[tuple[Any, ...]]:
    """Oldest first: what was observed of registered_model."""
    observed = [record.asset_observation for record in instance.fetch_observations(ASSET, limit=100).records]
    names = ("alias", "from_version", "to_version", "how")
    return [tuple(one.metadata[name].value for name in names) for one in reversed(observed) if one is not None]


def _skipped(result: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def test_every_move_is_told_once_whoever_made_it(
    tick: Tick, lake: Lake, tracking: Tracking, register_version: Callable[..., str], instance: dg.DagsterInstance
) -> None:
    """One registry for all of it: opening one costs seconds."""
    assert "no alias has moved" in _skipped(tick())
    for checkpoint in ("one", "two"):
        register_version(checkpoint)
    tracking.connect().set_registered_model_alias("lafid", "champion", "2")
    assert "no alias has moved" in _skipped(tick()), "a model that LaFID has not registered is none of its business"
    with at_registry(lake, tracking, "lafid") as registry:
        registry.promote("1", how="promote", why="it is better", judgement_id="j")
    begun = [("champion", "none", "2", "by_hand"), ("champion", "2", "1", "promote"), ("previous", "none", "2", "promote")]
    tick()
    assert _told(instance) == begun
    assert "no alias has moved" in _skipped(tick())

    # A person's hand, and a tick that dies before its cursor moved: the next one tells nothing twice ...
    tracking.connect().set_registered_model_alias("lafid", "champion", "2")
    tick(dies=True)
    by_hand = ("champion", "1", "2", "by_hand")
    assert _told(instance) == [*begun, by_hand]
    assert promotions_of(lake, "lafid").select("alias", "from_version", "to_version", "how").rows()[-1] == by_hand
    tracking.connect().delete_registered_model_alias("lafid", "previous")
    tick()
    # ... and nothing that came since is forgotten.
    assert _told(instance) == [*begun, by_hand, ("previous", "2", "none", "by_hand")]
    assert "no alias has moved" in _skipped(tick())
    newest = instance.fetch_observations(ASSET, limit=1).records[0].asset_observation
    assert newest is not None
    assert newest.description == "previous: 2 -> nobody, by_hand by somebody in the registry"

    # Somebody is at the aliases, or the registry is away: the tick is skipped, and says why.
    with at_registry(lake, tracking, "lafid"):
        assert "somebody is at the aliases" in _skipped(tick())
    away = Tracking("http://127.0.0.1:9", tracking.artifacts)
    assert "MLflow at http://127.0.0.1:9 does not answer" in _skipped(tick(at=away))


def test_more_than_a_tick_tells_come_in_the_next(
    tick: Tick, lake: Lake, tracking: Tracking, register_version: Any, instance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    for checkpoint in ("one", "two"):
        register_version(checkpoint)
    with at_registry(lake, tracking, "lafid") as registry:
        registry.promote("1", how="gate", why="", judgement_id=None)
        registry.promote("2", how="gate", why="", judgement_id=None)
    tick(dies=True)
    for _ in range(2):
        tick()
    assert [row[:3] for row in _told(instance)] == [("champion", "none", "1"), ("champion", "1", "2"), ("previous", "none", "1")]


def test_before_anything_is_registered_it_says_so(settings: Settings) -> None:
    lake, tracking = open_lake(settings), Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    assert "nothing has been registered yet" in _skipped(registry_watch(dg.build_sensor_context(), lake=lake, tracking=tracking))
    assert not settings.home.exists()


def test_off_by_default() -> None:
    assert registry_watch.default_status == dg.DefaultSensorStatus.STOPPED
