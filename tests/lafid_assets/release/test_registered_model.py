"""`registered_model` with a real MLflow registry and a real lake. Packaging, reading weights and drawing in fresh processes are
stood in for: `test_package` and `test_proofs` have them."""

from typing import Any

import pytest

import model.release.package
from lafid_assets.release import judgement
from lafid_assets.release.promotion import promotions_of
from resources.lake.lake import Lake
from resources.tracking import CHECKPOINT_TAG, EXPERIMENT, RegisteredVersion, Tracking
from tests.kills import killed_at
from tests.lafid_assets.release.installation import TINY, Release


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked to be logged; a bare logged model stands in for the package."""
    import mlflow

    calls: list[dict[str, Any]] = []

    def log_checkpoint(checkpoint: Any, base: Any, **what: Any) -> Any:
        calls.append(what)
        bare = mlflow.initialize_logged_model(name=what["name"])
        mlflow.finalize_logged_model(bare.model_id, "READY")
        return f"models:/{bare.model_id}"

    monkeypatch.setattr(model.release.package, "log_checkpoint", log_checkpoint)
    return calls


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What weights and fresh processes are found to be; a test may change it."""
    found: dict[str, Any] = {"broken": None, "frames": ["f" * 64] * 2}
    monkeypatch.setattr(judgement, "broken_weights", lambda *_: found["broken"])
    monkeypatch.setattr(judgement, "frames_of_fresh_processes", lambda *_: found["frames"])
    return found


@pytest.fixture
def release(lake: Lake, tracking: Tracking, row_of: Any, logged: list[Any], proven: dict[str, Any]) -> Release:
    return Release(lake, tracking, row_of)


def test_life_of_champions(release: Release, logged: list[dict[str, Any]]) -> None:
    """One registry for all of it: opening one costs seconds. First what the probe of the issue asked, A to J."""
    # A: a good model without a champion.
    release.train("good", 0.9)
    row = release.run()
    assert row | {"judgement_id": None} == {
        "model_name": "lafid",
        "model_version": "1",
        "alias": "champion",
        "model_uri": "models:/lafid/1",
        "gate": "passed",
        "checkpoint_sha256": "good",
        "dataset_version": "v1",
        "verdict": "passed",
        "judgement_id": None,
    }
    assert release.aliases == {"champion": "1"}
    assert len(logged) == 1

    # B, C: a much worse one above every absolute bound is registered, refused, and stays candidate.
    release.train("worse", 0.2)
    second = release.run()
    assert (second["model_version"], second["alias"], second["verdict"]) == ("2", "candidate", "refused")
    assert "it is worse" in second["gate"]
    assert release.aliases == {"champion": "1", "candidate": "2"}

    # A better one takes its place.
    release.train("better", 0.95)
    assert release.run()["alias"] == "champion"
    assert release.aliases == {"champion": "3", "previous": "1"}

    # D, E: a rollback by hand stays, whatever is run again with whatever bounds.
    release.client.set_registered_model_alias("lafid", "champion", "1")
    for bounds in ({}, {"min_first_frame_psnr_db": 29.0}, {"margin": 0.5}):
        release.run(**bounds)
        assert release.aliases["champion"] == "1"
    moved = promotions_of(release.lake, "lafid").select("alias", "from_version", "to_version", "how").rows()
    assert moved.count(("champion", "3", "1", "by_hand")) == 1

    # F, G: the tag says what the last judgement found, and so does the table.
    low = release.run(min_first_frame_psnr_db=40.0)
    assert low["verdict"] == "refused"
    assert release.versions[2].tags["lafid.gate"] == "refused: first_frame"
    high = release.run(min_first_frame_psnr_db=10.0)
    assert release.versions[2].tags["lafid.gate"] == high["verdict"] == "passed"
    assert high["gate"] == "passed, but somebody took `champion` from it: `lafid promote` gives it back"

    # H: withdrawn by hand, it stays withdrawn.
    release.client.delete_registered_model_alias("lafid", "champion")
    release.run(min_first_frame_psnr_db=11.0)
    assert "champion" not in release.aliases

    # A later model that passes is another matter: nobody has said anything of it.
    release.train("later", 0.97)
    assert release.run()["alias"] == "champion"
    assert release.aliases["champion"] == "4"

    # J: the evaluation of another checkpoint opens nothing.
    release.train("unseen", 0.99)
    release.evaluate(only=("good", "worse", "better", "later"))
    unseen = release.run()
    assert (unseen["alias"], unseen["verdict"]) == ("candidate", "undecided")
    assert "no evaluation of checkpoint unseen" in unseen["gate"]
    assert release.aliases["champion"] == "4"

    # What the training has logged is what is registered: its run, its commit, and the measures beside its own.
    client = release.client
    training = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id).info
    tags = {CHECKPOINT_TAG: "kept", "dagster.run_id": "of the training", "lafid.git_commit": "abc"}
    known = client.create_logged_model(training.experiment_id, name="s", source_run_id=training.run_id, tags=tags)
    client.finalize_logged_model(known.model_id, "READY")
    calls = len(logged)
    release.train("kept", 0.97)
    release.run()
    assert len(logged) == calls
    version = release.versions[-1]
    assert (version.source, version.run_id) == (f"models:/{known.model_id}", training.run_id)
    assert version.tags["lafid.git_commit"] == "abc"
    described = client.get_logged_model(known.model_id)
    assert described.tags["dagster.run_id"] == "of the training"
    assert {metric.key: metric.value for metric in described.metrics}["test_flow_loss"] == 0.7


def test_a_version_says_where_it_comes_from_and_what_was_found(release: Release, logged: list[dict[str, Any]]) -> None:
    release.train("good", 0.9)
    release.run()
    assert logged[0]["metrics"] == {
        "test_flow_loss": 0.7,
        "test_first_frame_psnr_db": 35.0,
        "test_pose_binned_similarity": 0.9,
        "loss_before": 1.0,
        "loss_after": 0.5,
    }
    assert release.tracking.find_version("lafid", "good") == RegisteredVersion("lafid", "1")
    (version,), (found,) = release.versions, release.judgements
    assert version.tags["lafid.licences"] == (
        "clips OpenHumanVid: CC-BY-NC-ND-4.0; face engine dlib: non-commercial-research; base wan2.2-ti2v-5b: Apache-2.0"
    )
    assert version.tags["lafid.policy"] == "cofe"
    assert version.tags["lafid.funnel"] == "kept 1"
    assert version.tags["lafid.base_revision"] == "c0ffee"
    assert version.tags["lafid.bench"] == f"{release.bench.name} {release.bench.version}"
    assert version.tags["lafid.judgement"] == found["judgement_id"]
    assert "pose_binned_similarity 0.900 (0.890 to 0.910)" in version.tags["lafid.intervals"]
    for said in ("clips OpenHumanVid: CC-BY-NC-ND-4.0", "c0ffee", "| likeness | passed | 0.89 | 0 |", "**passed**", "kept 1"):
        assert said in version.description
    assert (found["gate"], found["verdict"], found["against_version"]) == ("pretrained", "passed", None)
    assert [finding["rule"] for finding in found["findings"]] == [
        *("evaluated", "training_loss", "test_loss", "first_frame", "likeness"),
        *("unseen", "weights", "reload", "licences", "forgotten"),
    ]
    # The UI: findings as a table, the check with figures that plot.
    (done,) = release.last.asset_materializations_for_node("registered_model")
    assert len(done.metadata["judgement"].records) == 10
    checks = {check.check_name: check for check in release.last.get_asset_check_evaluations()}
    assert checks["gate"].passed
    assert checks["gate"].metadata["likeness"].value == pytest.approx(0.89)

    # The same again judges nothing anew, and shows the same.
    release.run()
    assert len(release.judgements) == len(release.versions) == 1
    assert {check.check_name for check in release.last.get_asset_check_evaluations()} == set(checks)

    # A version that is gone is made anew.
    release.client.delete_model_version("lafid", "1")
    assert release.run()["model_version"] == "2"


def test_a_tiny_model_is_champion_by_its_loss_and_the_next_by_no_worse_a_loss(release: Release) -> None:
    release.train("first", -0.3, base=TINY, loss=0.60)
    first = release.run()
    assert (first["alias"], first["gate"]) == ("champion", "passed")
    release.train("second", -0.4, base=TINY, loss=0.61)
    assert release.run()["alias"] == "champion"
    release.train("third", 0.9, base=TINY, loss=0.70)
    third = release.run()
    assert (third["alias"], third["verdict"]) == ("candidate", "refused")
    assert "the flow loss on test persons is 0.7000, that of champion version 2 0.6100, not at most 0.6222" in third["gate"]
    assert [found["gate"] for found in release.judgements] == ["tiny"] * 3
    assert release.aliases == {"champion": "2", "previous": "1", "candidate": "3"}


def test_what_is_no_figure_keeps_the_gate_shut(release: Release, proven: dict[str, Any]) -> None:
    """One thing after the other, of versions that would pass without it."""
    whole = dict(proven)

    def gate_of(checkpoint: str, **config: Any) -> str:
        release.train(checkpoint, 0.9)
        row = release.run(**config)
        assert (row["alias"], row["verdict"]) == ("candidate", "refused")
        proven.update(whole)
        return str(row["gate"])

    proven["broken"] = "tensor a of b is not finite"
    assert gate_of("one") == "the weights are broken: tensor a of b is not finite"
    proven["frames"] = ["a" * 64, "b" * 64]
    assert "fresh processes draw different frames" in gate_of("two")
    assert gate_of("three", use="commercial") == (
        "commercial use is forbidden by clips OpenHumanVid: CC-BY-NC-ND-4.0; face engine dlib: non-commercial-research"
    )
    release.leak()
    assert "it was trained on what the bench holds" in gate_of("four")
    release.forget()
    assert "1 clips of dataset version v1 were forgotten since: train it anew" in gate_of("five")


def test_killed_between_any_two_steps_the_next_run_ends_the_same(release: Release, logged: Any) -> None:
    from lafid_assets.release import registered_model as module
    from lafid_assets.release.promotion import Registry

    release.train("good", 0.9)
    for owner, name in (
        (Registry, "make_candidate"),
        (module, "judge"),
        (module, "keep_judgement"),
        (module, "_describe_version"),
        (Registry, "promote"),
    ):
        with killed_at(0, (owner, name)):
            assert not release.attempt().success
        assert "champion" not in release.aliases
    with killed_at(0, (release.lake, "put")):  # after the promotion
        assert not release.attempt().success
    assert release.aliases == {"champion": "1"}
    assert release.run()["alias"] == "champion"
    assert len(release.versions) == len(logged) == 1
    moved = promotions_of(release.lake, "lafid").select("alias", "from_version", "to_version", "how").rows()
    assert moved == [("candidate", None, "1", "registered"), ("champion", None, "1", "gate"), ("candidate", "1", None, "gate")]
    last = release.judgements[-1]
    assert release.versions[0].tags["lafid.judgement"] == last["judgement_id"]


def test_who_was_overtaken_while_it_was_judged_is_judged_again(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs at once: the second one finds another champion than it was judged against."""
    from lafid_assets.release import registered_model as module

    release.train("good", 0.5)
    release.run()
    release.train("quick", 0.8)
    release.run()
    release.client.set_registered_model_alias("lafid", "champion", "1")
    release.train("slow", 0.6)
    judged = module.judge

    def overtaken(*arguments: Any) -> Any:
        found = judged(*arguments)
        release.client.set_registered_model_alias("lafid", "champion", "2")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, "judge", overtaken)
        row = release.run()
    assert (row["alias"], row["verdict"]) == ("candidate", "passed"), "it was judged against version 1"
    assert row["gate"].startswith("passed, but champion is version 2, and it was judged against version 1")
    assert release.aliases["champion"] == "2"
    again = release.run()
    assert (again["alias"], again["verdict"]) == ("candidate", "refused"), "version 2 is better"
    assert [found["against_version"] for found in release.judgements][-2:] == ["1", "2"]
