"""Intervals: persons are drawn, not videos; what cannot be known is told, not made up."""

from itertools import product

import numpy as np
import pytest

from model.evaluation.statistics import TOO_FEW, Interval, bootstrap_interval, paired_interval


def test_two_persons_span_the_interval_between_their_means() -> None:
    """Of two persons, a quarter of the draws is one of them twice: the 95 % interval reaches from one to the other."""
    found = bootstrap_interval([0.2, 0.4, 0.9], ["a", "a", "b"])
    assert found == Interval(pytest.approx(0.5), pytest.approx(0.3), pytest.approx(0.9), persons=2, videos=3)


def test_three_persons_give_the_quantiles_of_all_27_draws() -> None:
    """By hand: every draw of three persons out of three, each as likely; the mean of a draw is over its videos."""
    videos = {"a": [0.0, 0.1], "b": [0.5], "c": [0.9, 0.8, 1.0]}
    means = [np.mean([value for person in drawn for value in videos[person]]) for drawn in product("abc", repeat=3)]
    values, persons = zip(*((value, person) for person, of in videos.items() for value in of), strict=True)
    found = bootstrap_interval(values, persons, draws=200_000, level=0.8)
    assert found.value == pytest.approx(3.3 / 6)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.1, 0.9]).tolist(), abs=0.01)


def test_many_videos_of_few_persons_are_no_surer_than_the_persons() -> None:
    once = bootstrap_interval([0.1, 0.5, 0.9], ["a", "b", "c"])
    often = bootstrap_interval([0.1, 0.5, 0.9] * 50, ["a", "b", "c"] * 50)
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))
    assert (often.persons, often.videos) == (3, 150)


def test_the_seed_decides_and_the_order_does_not() -> None:
    random = np.random.default_rng(1)
    values, persons = random.normal(size=60), [f"p{i % 9}" for i in range(60)]
    shuffled = random.permutation(60)
    found = bootstrap_interval(values.tolist(), persons)
    assert found == bootstrap_interval(values[shuffled].tolist(), [persons[i] for i in shuffled])
    assert found != bootstrap_interval(values.tolist(), persons, seed=1)
    assert found.low < found.value < found.high  # type: ignore[operator]


def test_one_person_has_a_mean_and_no_interval() -> None:
    assert bootstrap_interval([0.25, 0.75], ["a", "a"]) == Interval(0.5, None, None, 1, 2, TOO_FEW)
    assert bootstrap_interval([], []) == Interval(None, None, None, 0, 0, "no video has a value")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=f"value 1 is {bad}, not a finite number"):
        bootstrap_interval([0.5, bad], ["a", "b"])
    with pytest.raises(ValueError, match="not a finite number"):
        paired_interval([0.5, 0.5], [0.5, bad], ["a", "b"])


def test_values_and_persons_go_together() -> None:
    with pytest.raises(ValueError, match="2 values of 1 persons"):
        bootstrap_interval([0.5, 0.5], ["a"])
    with pytest.raises(ValueError, match="1 of ours and 2 of theirs"):
        paired_interval([0.5], [0.5, 0.5], ["a", "b"])


def test_a_small_steady_gain_shows_in_pairs_alone() -> None:
    """Persons differ by far more than the models do: only the difference within a pair tells the models apart."""
    theirs = np.linspace(0.1, 0.9, 12)
    ours = theirs + 0.02 + np.tile([0.005, -0.005], 6)
    persons = [f"p{i}" for i in range(12)]
    paired = paired_interval(ours.tolist(), theirs.tolist(), persons)
    assert paired.value == pytest.approx(0.02)
    assert 0.015 <= paired.low < paired.high <= 0.025  # type: ignore[operator]
    alone = [bootstrap_interval(values.tolist(), persons) for values in (ours, theirs)]
    assert alone[0].low < alone[1].high  # type: ignore[operator]
