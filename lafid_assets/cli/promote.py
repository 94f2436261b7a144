"""`lafid promote` and `lafid rollback`: a person moves `champion`, and says why. Needs no Dagster.

Belongs here: judging by the stored judgement, moving, and what is said. Not here: how aliases move (`release.promotion`), new
judgements (the asset registered_model).
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from lafid_assets.cli.display import CONSOLE
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.release.gates import Finding, in_words
from lafid_assets.release.judgement import last_judgement
from lafid_assets.release.promotion import LONGEST_WHY, PromotionRefused, Registry, at_registry
from lafid_assets.schemas.registry import BY_COMMAND, PASSED
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import CHAMPION, CHECKPOINT_TAG, Tracking, VersionUnknown


def run_promote(settings: Settings, model: str, why: str, *, force: bool) -> None:
    """Make a registered version champion, if it passed its judgement against who is champion now, or by force."""
    _require_short(why)
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    version = tracking.resolve(model)
    name, number = version.name, str(version.version)
    with _at_work(settings, tracking, name, "lafid promote") as (lake, registry):
        champion = registry.aliases.get(CHAMPION)
        if champion == number:
            CONSOLE.print(f"{name} version {number} is champion already")
            return
        judgement = last_judgement(lake, name, number, tracking.tags_of(version).get(CHECKPOINT_TAG, ""))
        objection = _objection(judgement, champion)
        if objection is not None and not force:
            raise PromotionRefused(f"{name} version {number} {objection}, or say --force and --why")
        if objection is not None and not why:
            raise PromotionRefused(f"{name} version {number} {objection}: --force needs a reason, say it with --why")
        said = why or "by command; it passed its judgement"
        registry.promote(
            number,
            how=BY_COMMAND,
            why=said if objection is None else f"{said} (forced, though it {objection})",
            judgement_id=None if judgement is None else judgement["judgement_id"],
        )
        _tell(registry, champion, number)


def run_rollback(settings: Settings, name: str | None, why: str) -> None:
    """Swap champion and previous. `name`: of the registered model; None: as in `lafid.toml`."""
    _require_short(why)
    name = SettingsFile.of(settings.home).model_name if name is None else name
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    if not tracking.is_there or tracking.registered_model(name) is None:
        raise VersionUnknown(f"{tracking.uri} has no model {name}: name another with --name, or run `lafid demo`")
    with _at_work(settings, tracking, name, "lafid rollback") as (_, registry):
        _tell(registry, *registry.roll_back(why or "rolled back by command"))


@contextmanager
def _at_work(settings: Settings, tracking: Tracking, name: str, what: str) -> Iterator[tuple[Lake, Registry]]:
    with closing(open_lake(settings)) as lake:
        if not lake.is_there():
            raise PromotionRefused(
                f"there are no tables in {lake.store.uri}: set LAFID_STORE to where {name} was registered from"
            )
        with lake.leases.at_work(what), at_registry(lake, tracking, name) as registry:
            yield lake, registry


def _objection(judgement: Mapping[str, Any] | None, champion: str | None) -> str | None:
    """What stands against the version, with the remedy; None: nothing."""
    if judgement is None:
        return "was never judged: materialize registered_model"
    if judgement["verdict"] != PASSED:
        found = in_words(Finding(**found) for found in judgement["findings"])
        return f"is {judgement['verdict']} ({found}): judge it anew when that has changed"
    against = judgement["against_version"]
    if champion is not None and against != champion:
        was = f"version {against}" if against else "nobody"
        return f"was judged against {was}, and champion is version {champion}: materialize model_evaluation and registered_model"
    return None


def _require_short(why: str) -> None:
    if len(why) > LONGEST_WHY:
        raise PromotionRefused(f"the reason is {len(why)} characters long: say it in {LONGEST_WHY}")


def _tell(registry: Registry, champion: str | None, version: str) -> None:
    was = f"version {champion}" if champion else "nobody"
    CONSOLE.print(f"{registry.name}: champion is version {version}, before it was {was}")
