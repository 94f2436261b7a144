"""The order in which a run reads its clips: batches of one size, as a pure function of (seed, step).

Belongs here: which clips a step sees. Not here: the clips themselves (`clips.clip_set`), what is drawn for each of them
(`sampling`).

Clips of one size make a bucket, and a batch is of one bucket. A bucket of n clips has an endless row of shuffled epochs, in
which every clip comes once an epoch; its k-th batch is the k-th window of `batch_size` clips on that row, so that none is
dropped where the batch size does not divide n. In epoch e the run sees floor((e + 1) n / batch_size) - floor(e n / batch_size)
batches of that bucket, mixed with the other buckets' by chance. Both sums have a closed form: any step is found without those
before it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from model.bases.flow import generator
from model.clips.clip_set import DataError


@dataclass(frozen=True)
class Order:
    """Batches of `batch_size` clips, each batch of one bucket.

    A bucket with fewer clips than a batch makes none, for a batch would hold one of them twice: `left_out` names its clips.

    Args:
        buckets: the clips of each size, by index.
        batch_size: clips a batch.
        seed: of every shuffle.

    Raises:
        DataError: no bucket fills a batch.
    """

    buckets: Sequence[Sequence[int]]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not self._rows:
            raise DataError(
                f"{max(map(len, self.buckets))} clips are fewer than the {self.batch_size} of a batch, which would hold one "
                f"twice ({sum(map(len, self.buckets))} clips of {len(self.buckets)} sizes, the most of one size counted): "
                "lower train.batch_size, or curate more clips"
            )

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """Clips of buckets that do not fill a batch, ascending."""
        return tuple(sorted(clip for bucket in self.buckets if len(bucket) < self.batch_size for clip in bucket))

    def batch(self, step: int) -> tuple[int, ...]:
        """The clips of step number `step`, counted from 0."""
        most = (step + len(self._rows)) * self.batch_size // sum(map(len, self._rows)) + 1
        epoch = bisect_right(range(most + 1), step, key=self._before) - 1
        numbers = torch.arange(len(self._rows))
        labels = numbers.repeat_interleave(
            torch.tensor([self._batches(row, epoch + 1) - self._batches(row, epoch) for row in self._rows])
        )
        mixed = labels[_shuffled(self.seed, "buckets", epoch, len(labels))]
        place = step - self._before(epoch)
        chosen = self._rows[int(mixed[place])]
        number = self._batches(chosen, epoch) + int((mixed[:place] == mixed[place]).sum())
        return tuple(self._clip(chosen, number * self.batch_size + slot) for slot in range(self.batch_size))

    @cached_property
    def _rows(self) -> tuple[Sequence[int], ...]:
        return tuple(bucket for bucket in self.buckets if len(bucket) >= self.batch_size)

    def _batches(self, bucket: Sequence[int], epochs: int) -> int:
        return epochs * len(bucket) // self.batch_size

    def _before(self, epoch: int) -> int:
        """Batches of all buckets in the epochs before it."""
        return sum(self._batches(bucket, epoch) for bucket in self._rows)

    def _clip(self, bucket: Sequence[int], position: int) -> int:
        """Buckets of equally many clips are shuffled alike; their clips are different ones."""
        epoch, offset = divmod(position, len(bucket))
        return bucket[int(_shuffled(self.seed, "order", epoch, len(bucket))[offset])]


@lru_cache(maxsize=16)
def _shuffled(seed: int, purpose: str, epoch: int, count: int) -> torch.Tensor:
    return torch.randperm(count, generator=generator(seed, purpose, epoch))
