"""One step, always the same shape: compute (pure) -> contract -> lake (whole or not at all) -> metadata and checks.

Belongs here: that shape, and the fingerprint that says whether a partition is current. Not here: what any one step computes, a
step at work in a run (`step_run`), which shards are current (`staleness`).
"""

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, cast

import dagster as dg
from pydantic import BaseModel, ValidationError

from lafid_assets.constraints.policies import PolicyUnusable
from lafid_assets.lafid_toml.settings_file import SettingsFile, SettingsUnusable, as_defaults
from lafid_assets.runs.run_failure import reported
from lafid_assets.runs.run_settings import told_to
from lafid_assets.schemas import BY_NAME
from lafid_assets.steps.contract import TableSchema
from lafid_assets.steps.partitions import CLIP_SHARDS, MOST_SHARDS_PER_RUN
from lafid_assets.steps.step_registry import STEPS, UNDER
from lafid_assets.steps.step_run import CONTRACT, COUNTS_ADD_UP, Frames, StepRun, Work
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.reader import Stamps
from resources.settings import Settings

Check = Callable[[Frames], list[str]]

KIND_ICONS = {"python", "duckdb", "parquet"}


@dataclass(frozen=True)
class Step:
    """An asset: the tables that it writes, the tables that it reads, and its version.

    Attributes:
        writes: the first bears the asset's name, unless `name` says otherwise.
        reads: tables whose content decides the result. Of a shard's step it is that shard's rows. No views: they have no stamps.
        facts: what else decides it: of the config, and of the world outside the lake (engines, weights).
        not_deciding: lines of the config that decide nothing: addresses, paths, costs.
        chosen: of a config, what `auto` and names come to on this machine: line to value, in the place of the config's.
        require: raises where this machine lacks what the config names and `facts` do not ask for, such as a key.
        unsettled: of a config, SQL that lists, as `shard`, the shards to be computed again although no table read has changed;
            None where there can be none.
        checks: further blocking checks, name to a function that lists what is wrong with the frames that are to be written.
        later_checks: checks of what has been written; a blocking one fails the shard, which keeps what it has.
        counts_clips: whether the per-clip table must have a row for every clip that came in.
        opens_videos: whether it looks into the clips' files, which costs more than everything that reads tables alone.
    """

    writes: tuple[TableSchema, ...]
    reads: tuple[str, ...]
    group: str
    code_version: str
    kinds: frozenset[str] = frozenset()
    name: str = ""
    facts: Callable[[Any], Any] = BaseModel.model_dump
    not_deciding: frozenset[str] = frozenset()
    chosen: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    require: Callable[[Any], object] = lambda _: None
    unsettled: Callable[[Any], str | None] | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    later_checks: Mapping[str, dg.AssetCheckSpec] = field(default_factory=dict)
    counts_clips: bool = True
    opens_videos: bool = False

    def __post_init__(self) -> None:
        if views := [name for name in self.reads if name in BY_NAME and BY_NAME[name].view is not None]:
            raise ValueError(f"{self.asset} reads the view {views[0]}, which has no stamp: name the tables that it shows")

    @property
    def table(self) -> TableSchema:
        """The first of the tables."""
        return self.writes[0]

    @property
    def asset(self) -> str:
        """The asset's name."""
        return self.name or self.table.name

    def arguments(self, *, deps: Sequence[str], pool: str | None = None) -> dict[str, Any]:
        """Everything that `@dg.asset` wants to know about this step."""
        columns = [
            dg.TableColumn(
                column.name,
                str(column.dtype),
                description=_in_markdown(column.doc),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=self.table.key == (column.name,)),
            )
            for column in self.table.columns
        ]
        specs = [
            dg.AssetCheckSpec(name, asset=self.asset, blocking=True, description=description)
            for name, description in self.check_docs.items()
        ]
        return {
            "name": self.asset,
            "deps": list(deps),
            "group_name": self.group,
            "kinds": KIND_ICONS | self.kinds,
            "tags": {"lafid/opens": "videos" if self.opens_videos else "tables"},
            "owners": ["team:ml" if self.group in ("training", "release") else "team:data"],
            "code_version": self.code_version,
            "partitions_def": CLIP_SHARDS if self.table.partitioned else None,
            "backfill_policy": dg.BackfillPolicy.multi_run(MOST_SHARDS_PER_RUN) if self.table.partitioned else None,
            "pool": pool,
            "metadata": {
                "dagster/table_name": self.table.name,
                "dagster/column_schema": dg.TableSchema(columns=columns),
                "key": ", ".join(self.table.key),
                "tables": ", ".join(table.name for table in self.writes),
            },
            "check_specs": [*specs, *self.later_checks.values()],
        }

    def as_asset(
        self, *, deps: Sequence[str], pool: str | None = None, checks: Sequence[dg.AssetCheckSpec] = ()
    ) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
        """Makes a function this step's asset: what a run's config leaves out is as the home's `lafid.toml` says.

        Dagster reads the function's parameters: `context`, `config`, and a resource each.

        Args:
            checks: beside the step's own, those whose results the function adds itself.
        """

        def define(work: Callable[..., dg.MaterializeResult]) -> dg.AssetsDefinition:
            wanted = inspect.signature(work).parameters
            own_config = wanted["config"].annotation

            def under(shown: type[Any]) -> dg.AssetsDefinition:
                @wraps(work)
                def told(context: dg.AssetExecutionContext, **resources: Any) -> Iterator[Any]:
                    def run() -> dg.MaterializeResult:
                        lines = told_to(context, resources["settings"]).get(self.asset, {}).get("config", {})
                        given = {name: resource for name, resource in resources.items() if name in wanted}
                        return work(context, own_config(**lines), **given)

                    yield from reported(context, self.asset, run)

                settings = inspect.Parameter(
                    "settings", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.ResourceParam[Settings]
                )
                parameters = {name: wanted[name] for name in wanted if name != "config"} | {"settings": settings}
                told.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
                arguments = self.arguments(deps=deps, pool=pool)
                arguments["check_specs"] += checks
                arguments["metadata"] |= {"dagster/code_references": _source_of(work)}
                # Not as a parameter: Dagster would make the config itself, and fail in its own words where a value does not fit.
                schema = cast("type[dg.Config]", shown).to_config_schema()
                return dg.asset(told, **arguments, config_schema=schema)

            STEPS[self.asset], UNDER[self.asset] = (self, own_config), under
            return under(own_config)

        return define

    def fingerprint(self, stamps: Stamps, partition: str, facts: Any) -> str:
        """Hash of code version, facts, and the content of every table read.

        Args:
            stamps: of the tables that the step reads: of the partition's own, or of all partitions.
        """
        shard_of = {table: partition if self._same_partition(table) else None for table in self.reads}
        inputs = {
            table: [[name, stamp.digest] for (read, name), stamp in stamps.items() if read == table and shard in (None, name)]
            for table, shard in shard_of.items()
        }
        return hashlib.sha256(
            json.dumps([self.asset, self.code_version, facts, inputs], sort_keys=True, default=str).encode()
        ).hexdigest()

    def deciding(self, config: BaseModel) -> dict[str, Any]:
        """Line to value of what decides the tables: all shards of a dataset have them alike."""
        return config.model_dump(mode="json", exclude=set(self.not_deciding)) | dict(self.chosen(config))

    def is_written(self, stamps: Stamps, partition: str, fingerprint: str) -> bool:
        """Whether all tables of the partition were written under this fingerprint."""
        own = [stamps.get((table.name, partition)) for table in self.writes if not table.appended]
        return all(stamp is not None and stamp.fingerprint == fingerprint for stamp in own)

    def materialize(self, context: dg.AssetExecutionContext, config: BaseModel, lake: Lake, work: Work) -> dg.MaterializeResult:
        """Bring the run's partitions up to date: compute those that are not current, put them into the lake, report.

        A shard that fails costs itself: the others of the run are computed, and assets further down leave it out. The run's last
        asset then fails and names it.
        """
        partitions = list(context.partition_keys) if self.table.partitioned else [UNPARTITIONED]
        unsettled = self.unsettled(config) if self.unsettled else None
        return StepRun(self, context, lake, work, config, unsettled).bring_up_to_date(partitions)

    @property
    def check_docs(self) -> dict[str, str | None]:
        """The checks that come before writing, name to description."""
        docs: dict[str, str | None] = {
            CONTRACT: "Columns and types are the contract's, no key occurs twice, no NULL where none may be, values lie within "
            "bounds and closed lists, reasons fit their status."
        }
        if self.counted_table is not None:
            docs[COUNTS_ADD_UP] = "Every clip that came in has exactly one row: none lost, none invented."
        return docs | {name: check.__doc__ for name, check in self.checks.items()}

    @property
    def outcomes(self) -> str | None:
        """The table that says how each clip ended here; None where there is none."""
        return next((table.name for table in self.writes if table.key == ("clip_id",) and table.says_how_clips_end), None)

    @property
    def counted_table(self) -> str | None:
        """The table that has a row for every clip that came in; None where there is none."""
        per_clip = (table.name for table in self.writes if table.partitioned and table.key == ("clip_id",))
        return next(per_clip, None) if self.counts_clips else None

    def _same_partition(self, table: str) -> bool:
        schema = BY_NAME.get(table)
        return self.table.partitioned and (schema is None or schema.partitioned)


def _source_of(work: Callable[..., Any]) -> dg.CodeReferencesMetadataValue:
    """Where the UI opens an asset. Dagster's `with_source_code_references` would open this module, which wraps all of them."""
    with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):
        place = dg.LocalFileCodeReference(
            file_path=inspect.getsourcefile(work) or "", line_number=inspect.getsourcelines(work)[1]
        )
        return dg.CodeReferencesMetadataValue(code_references=[place])


def _in_markdown(text: str) -> str:
    """A column's meaning where it is taken for Markdown: a `>` or `<` outside of code would be a quotation or a tag there."""
    code = "`"
    return code.join(
        part if number % 2 else part.replace("<", "\\<").replace(">", "\\>") for number, part in enumerate(text.split(code))
    )


def as_told(asset: dg.AssetsDefinition, file: SettingsFile) -> dg.AssetsDefinition:
    """The asset as its launchpad shows it: with the file's lines in the place of its defaults. Where a line is wrong it stays as
    it is, and its run refuses the file."""
    name = asset.key.to_user_string()
    try:
        lines = file.of_asset(name)
        return UNDER[name](as_defaults(STEPS[name][1], lines)) if lines else asset
    except (SettingsUnusable, PolicyUnusable, ValidationError):
        return asset
