"""Batches of a split, their groups, and samples that cover its targets."""

import tracemalloc

import numpy as np
import pytest

from models.config import Augment, Train
from models.training.augment import Draw, change
from models.training.batches import (
    BYTES_PER_CALL,
    STEPS_PER_CALL,
    Batch,
    Split,
    changed,
    evenly_spaced,
    evenly_spaced_rows,
    grouped,
    shuffled,
)


def test_blended_targets_take_the_memory_of_the_batch_however_many_classes_there_are() -> None:
    rows, classes = np.arange(32), 10_000
    drawn = Draw(rows, share=np.float32(0.25), partners=rows[::-1])
    config = Augment(shift=0, flip=False, mixup=0.2)
    tracemalloc.start()
    _, blended = change(np.zeros((32, 2), np.float32), rows, drawn, config, classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (blended.shape, blended.dtype) == ((32, classes), np.float32)
    assert (blended[0, 0], blended[0, 31], blended[0].sum()) == (0.25, 0.75, 1)
    assert peak < 10 * blended.nbytes


@pytest.mark.parametrize("order", ["sorted", "shuffled", "alternating"])
def test_each_class_has_its_share_in_any_order_of_the_examples(order: str) -> None:
    targets = np.repeat(np.arange(4), [400, 200, 100, 100])
    if order == "shuffled":
        targets = np.random.default_rng(0).permutation(targets)
    elif order == "alternating":
        targets = np.concatenate([targets[::2], targets[1::2]])
    rows = evenly_spaced_rows(targets, 80)
    assert np.abs(np.bincount(targets[rows]) - [40, 20, 10, 10]).max() <= 1
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_values_of_a_regression_are_covered_from_the_lowest_to_the_highest() -> None:
    targets = np.random.default_rng(0).permutation(1000).astype(np.float32)
    assert sorted(targets[evenly_spaced_rows(targets, 5)]) == pytest.approx([0, 250, 500, 749, 999], abs=1)


def test_a_small_split_is_taken_whole_and_in_order() -> None:
    split = Split(np.arange(6)[:, None], np.array([2, 0, 1, 0, 2, 1]))
    batch = evenly_spaced(split, 100)
    np.testing.assert_array_equal(batch.inputs, split.inputs)
    np.testing.assert_array_equal(batch.targets, split.targets)


def test_groups_have_batches_of_one_size_and_a_limit(digits: Split, train_config: Train) -> None:
    config = train_config.augment
    draws = list(shuffled(digits, 60, config, np.random.default_rng(0)))
    groups = list(grouped(changed(digits, drawn, config, 10) for drawn in draws))
    assert [len(batch.targets) for group in groups for batch in group] == [drawn.size for drawn in draws]
    assert all(len({batch.size for batch in group}) == 1 for group in groups)
    assert max(map(len, groups)) == STEPS_PER_CALL
    large = Batch(np.zeros(BYTES_PER_CALL // 2 + 1, np.uint8), np.zeros(1))
    assert list(map(len, grouped([large, large, large]))) == [1, 1, 1]
