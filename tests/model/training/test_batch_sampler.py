"""Which clips a step sees: every clip of a bucket once an epoch, batches of one size, a function of seed and step."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bases.flow import generator
from model.clips.clip_set import DataError
from model.training.batch_sampler import Order

BUCKETS = [list(range(0, 7)), list(range(7, 10)), list(range(10, 27))]


def batches(order: Order, steps: int) -> list[tuple[int, ...]]:
    return [order.batch(step) for step in range(steps)]


def test_every_clip_comes_once_an_epoch_and_none_is_dropped() -> None:
    seen = [clip for batch in batches(Order([range(5)], 2, seed=7), 5) for clip in batch]
    assert Counter(seen[:5]) == Counter(seen[5:]) == Counter(range(5))
    assert seen[:5] != seen[5:]


def test_one_bucket_is_a_window_on_the_row_of_shuffled_epochs() -> None:
    row = torch.cat([torch.randperm(9, generator=generator(3, "order", epoch)) for epoch in range(4)]).tolist()
    assert [clip for batch in batches(Order([range(9)], 4, seed=3), 9) for clip in batch] == row


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 3))
def test_whatever_the_buckets_each_is_read_evenly_and_no_batch_mixes_two(sizes: list[int], batch_size: int, seed: int) -> None:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    buckets = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    if max(sizes) < batch_size:
        with pytest.raises(DataError, match="fewer than"):
            Order(buckets, batch_size, seed)
        return
    order = Order(buckets, batch_size, seed)
    used = [bucket for bucket in buckets if len(bucket) >= batch_size]
    rows: dict[range, list[int]] = {bucket: [] for bucket in used}
    starts = [sum(epoch * len(bucket) // batch_size for bucket in used) for epoch in range(6)]
    for first, last in pairwise(starts):
        for step in range(first, last):
            (home,) = {bucket for clip in order.batch(step) for bucket in buckets if clip in bucket}
            rows[home] += order.batch(step)
        # Once an epoch is over, of every bucket as much was read as whole batches of its epochs hold.
        assert {bucket: len(row) // batch_size for bucket, row in rows.items()} == {
            bucket: (starts.index(last)) * len(bucket) // batch_size for bucket in used
        }
    for bucket, row in rows.items():
        for start in range(0, len(row) - len(bucket) + 1, len(bucket)):
            assert Counter(row[start : start + len(bucket)]) == Counter(bucket)
    assert order.left_out == tuple(clip for bucket in buckets if bucket not in used for clip in bucket)


def test_batches_of_different_buckets_are_mixed_by_seed_and_epoch() -> None:
    def homes(seed: int, epoch: int) -> list[int]:
        order = Order([range(40), range(40, 80)], 4, seed)
        return [order.batch(step)[0] // 40 for step in range(20 * epoch, 20 * (epoch + 1))]

    assert sum(homes(0, 0)) == sum(homes(0, 1)) == 10
    assert len({tuple(homes(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert homes(0, 0) != sorted(homes(0, 0))


def test_a_step_needs_none_before_it() -> None:
    assert Order(BUCKETS, 3, seed=1).batch(10**9) == Order(BUCKETS, 3, seed=1).batch(10**9)
    walked = batches(Order(BUCKETS, 3, seed=1), 60)
    assert [Order(BUCKETS, 3, seed=1).batch(step) for step in range(60)] == walked
    assert batches(Order(BUCKETS, 3, seed=2), 60) != walked


def test_a_bucket_smaller_than_a_batch_is_named() -> None:
    order = Order(BUCKETS, 4, seed=0)
    assert order.left_out == (7, 8, 9)
    assert not {clip for batch in batches(order, 40) for clip in batch} & {7, 8, 9}
    assert Order(BUCKETS, 3, seed=0).left_out == ()
