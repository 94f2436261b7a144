"""Which models of the store make up an insightface engine.

Belongs here: what `auto` takes, and what the parts are. Not here: running them (`insightface_engine`), the config that asks
(`resources.face_engine`).
"""

from dataclasses import dataclass

from model.model_store.registry import Kind, Licence, ModelUnknown, strictest
from model.model_store.store import InstalledModel, ModelMissing, ModelStore

PACKS = ("buffalo_l", "antelopev2", "buffalo_s")
DETECTORS = (*PACKS, "scrfd_2.5g", "scrfd_500m")
EMBEDDERS = (*PACKS, "arcface_mobilefacenet_foamliu", "arcface_mobilefacenet_insightface")
HEAD_POSES = ("6drepnet", "fsanet")
MOUTHS = ("face_mesh", "2d106")
"""`auto` looks for them in this order."""
AUTO, NONE = "auto", "none"


@dataclass(frozen=True, eq=False)
class Parts:
    """The models of one engine, all present and accepted; of `mouth`, None where lips are not measured."""

    detector: InstalledModel
    embedder: InstalledModel
    head_pose: InstalledModel
    mouth: InstalledModel | None

    @property
    def all(self) -> tuple[InstalledModel, ...]:
        """Every part that is there."""
        return (self.detector, self.embedder, self.head_pose) + ((self.mouth,) if self.mouth else ())

    @property
    def licence(self) -> Licence:
        """The strictest of the parts' licences."""
        return strictest(*(part.entry.licence for part in self.all))

    @property
    def summary(self) -> str:
        """The parts by name."""
        mouth = self.mouth.entry.name if self.mouth else NONE
        return (
            f"detector {self.detector.entry.name}, embedder {self.embedder.entry.name}, "
            f"head pose {self.head_pose.entry.name}, mouth {mouth}"
        )


def check_names(*, detector: str = AUTO, embedder: str = AUTO, head_pose: str = AUTO, mouth: str = AUTO) -> None:
    """
    Raises:
        ModelUnknown: a name is none that its part can have.
    """
    _one_of("detector", detector, (AUTO, *DETECTORS))
    _one_of("embedder", embedder, (AUTO, *EMBEDDERS))
    _one_of("head_pose", head_pose, (AUTO, *HEAD_POSES))
    _one_of("mouth", mouth, (AUTO, NONE, *MOUTHS))


def choose_parts(
    store: ModelStore, *, detector: str = AUTO, embedder: str = AUTO, head_pose: str = AUTO, mouth: str = AUTO
) -> Parts:
    """The models that the names stand for; `auto` takes the first of its list that is present and accepted.

    Raises:
        ModelUnknown: a name is none that its part can have.
        ModelMissing: a model is not in the store, or none for `auto` is.
        LicenceNotAccepted: a model's terms were not accepted.
    """
    check_names(detector=detector, embedder=embedder, head_pose=head_pose, mouth=mouth)
    return Parts(
        detector=_named_or_first(store, "detector", detector, DETECTORS),
        embedder=_named_or_first(store, "embedder", embedder, EMBEDDERS),
        head_pose=_named_or_first(store, "head pose", head_pose, HEAD_POSES),
        mouth=_mouth(store, mouth),
    )


def lacking(store: ModelStore) -> list[str]:
    """What `auto` lacks for an insightface engine, in words; empty where nothing is."""
    problems = []
    for part, names in (("detector", DETECTORS), ("embedder", EMBEDDERS), ("head pose", HEAD_POSES)):
        if not any(store.usable(name) for name in names):
            unaccepted = [name for name in names if store.present(name)]
            problems.append(f"the licence of {unaccepted[0]} is not accepted" if unaccepted else f"no {part}")
    return problems


def _mouth(store: ModelStore, name: str) -> InstalledModel | None:
    if name == NONE or (name == AUTO and not store.usable("face_mesh")):
        return None
    if name != "2d106":
        return store.require("face_mesh")
    for pack in PACKS:
        if store.usable(pack) and store.require(pack).networks(Kind.LANDMARKS_106):
            return store.require(pack)
    return store.require("2d106")


def _named_or_first(store: ModelStore, part: str, name: str, names: tuple[str, ...]) -> InstalledModel:
    if name != AUTO:
        return store.require(name)
    for candidate in names:
        if store.usable(candidate):
            return store.require(candidate)
    for candidate in names:
        if store.present(candidate):
            return store.require(candidate)  # raises: its terms are not accepted, and the error says how to
    raise ModelMissing(
        f"no {part} is in the model store {store.root}: add one of {', '.join(names)} by `lafid models add NAME FILE`"
    )


def _one_of(part: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ModelUnknown(f"there is no {part} {name!r}: choose one of {', '.join(names)}")
