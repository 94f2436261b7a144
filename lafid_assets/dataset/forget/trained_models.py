"""Which models were trained on a clip. Weights cannot be made to forget; whoever owns them must decide.

Belongs here: dataset versions -> checkpoints, registered versions and logged models. Not here: training them anew (the next run
of `fusion_dit` does, because its latents have changed).
"""

from lafid_assets.dataset.forget.subject import Subject
from resources.tracking import DATASET_TAG, Tracking


def models_trained_on(subject: Subject, tracking: Tracking) -> list[str]:
    """Checkpoints in the store, and models in MLflow, registered or only logged, that were trained on a dataset version with one
    of the clips."""
    found = [f"checkpoint {path}" for path in subject.checkpoints]
    if not subject.trained_versions or not tracking.is_there:
        return found
    registered = tracking.connect().search_model_versions()
    for version in registered:
        trained_on = tracking.tags_of(version).get(DATASET_TAG)
        if trained_on in subject.trained_versions:
            found.append(f"models:/{version.name}/{version.version} (trained on {trained_on})")
    told = {version.source for version in registered}
    for trained in subject.trained_versions:
        addresses = [f"models:/{model_id}" for model_id in tracking.tagged_models(DATASET_TAG, trained)]
        found += [f"{address} (trained on {trained})" for address in addresses if address not in told]
    return sorted(found)
