"""What is not current, asked of the lake alone: of a thousand shards as quickly as of one, and without starting a run.

Belongs here: fingerprints computed from all stamps at once. Not here: what a fingerprint is (`step`), computing anything.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from lafid_assets.steps.step import Step
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import UNPARTITIONED
from resources.lake.reader import Reader, Stamp
from resources.lake.tables import PARTITIONS

Chain = Sequence[tuple[Step, BaseModel]]


def stale_shards(reader: Reader, steps: Chain, shards: Iterable[str]) -> dict[str, str]:
    """Shard to the first step that is not current, of the shards that have one.

    Args:
        steps: of shards, each after those that it reads, with their configs.
    """
    wanted = {name for step, _ in steps for name in _tables(step)}
    of_shard: defaultdict[str, dict[tuple[str, str], Stamp]] = defaultdict(dict)
    for (table, partition), stamp in reader.stamps(wanted).items():
        of_shard[partition][table, partition] = stamp
    shared = of_shard[UNPARTITIONED]
    asked = [(step, step.facts(config), unsettled_shards(reader, step, config)) for step, config in steps]
    stale = {}
    for shard in shards:
        stamps = of_shard[shard] | shared
        for step, facts, unsettled in asked:
            if shard in unsettled or not step.is_written(stamps, shard, step.fingerprint(stamps, shard, facts)):
                stale[shard] = step.asset
                break
    return stale


def unfinished_shards(reader: Reader, steps: Chain, stale: Mapping[str, str]) -> set[str]:
    """The stale shards that were never brought to their end, or hold something new since. The others were finished once, and are
    stale because settings or code have changed.

    Args:
        steps: as of `stale_shards`. The first depends on files alone, so that a shard that is stale there is unfinished.
        stale: what `stale_shards` found.
    """
    found = {shard for shard, asset in stale.items() if asset == steps[0][0].asset}
    for step, _ in steps[1:]:
        if not (shards := [shard for shard, asset in stale.items() if asset == step.asset]):
            continue
        made = [table.name for table in step.writes if not table.appended]
        is_made, is_read, among = (
            f"{column} IN ({', '.join(map(quoted, values))})"
            for column, values in (("table_name", made), ("table_name", step.reads), ("partition", shards))
        )
        found |= set(shards) - set(
            reader.sql(
                f"SELECT partition FROM {PARTITIONS} WHERE fingerprint IS NOT NULL AND {among} AND ({is_made} OR {is_read}) "
                f"GROUP BY partition HAVING count(*) FILTER ({is_made}) = {len(made)} "
                f"AND coalesce(max(written_at) FILTER ({is_read}) <= min(written_at) FILTER ({is_made}), true)"
            )["partition"]
        )
    return found


def is_current(reader: Reader, step: Step, config: BaseModel) -> bool:
    """Whether a step that is not of shards would compute nothing."""
    stamps = reader.stamps(_tables(step))
    fingerprint = step.fingerprint(stamps, UNPARTITIONED, step.facts(config))
    return step.is_written(stamps, UNPARTITIONED, fingerprint) and not unsettled_shards(reader, step, config)


def _tables(step: Step) -> set[str]:
    return {*step.reads, *(table.name for table in step.writes)}


def unsettled_shards(reader: Reader, step: Step, config: BaseModel) -> set[str]:
    """The shards that the step says to be computed again although nothing that it reads has changed; of a step that is not of
    shards, anything at all."""
    listing = step.unsettled(config) if step.unsettled else None
    return set() if listing is None else set(reader.sql(f"SELECT DISTINCT shard FROM ({listing})")["shard"])
