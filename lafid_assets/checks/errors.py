"""How many clips failed, in all and in each step?

Belongs here: the funnel of a version -> judgement. Not here: the budget that fails a shard (`faces.shard_limits`).
"""

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.dataset_rates import step_rates, whole_rates
from lafid_assets.checks.judged import Judged, nothing_to_judge


def error_share(funnel: pl.DataFrame, bounds: CheckBounds) -> Judged:
    """The share of clips that ended as error or timeout.

    Args:
        funnel: `status`, `step`, `reason`, `clips`, as `dataset_versions` has it.
    """
    whole = whole_rates(funnel)
    if not whole.clips_in:
        return nothing_to_judge("no clip has come in")
    rates = {step.asset: step.rates["error_rate"] for step in step_rates(funnel) if step.rates}
    most = bounds.most_error_share
    many = [f"{asset} {rate:.1%}" for asset, rate in rates.items() if rate > most]
    told = f"{whole.failed} of {whole.clips_in} clips failed"
    if many:
        told += f"; more than {most:.1%} in {', '.join(many)}: `lafid funnel` counts the reasons"
    figures = {"clips_failed": whole.failed, "error_rate": whole.rates["error_rate"]}
    is_few = not many and whole.rates["error_rate"] <= most
    return Judged(is_few, told, figures | {f"error_rate_{asset}": rate for asset, rate in rates.items()})
