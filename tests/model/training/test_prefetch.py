"""One item ahead: the same items, made while the one before is used, and nothing left running."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.training.prefetch import one_ahead


def test_items_come_in_order_and_the_end_is_the_end() -> None:
    with ThreadPoolExecutor(1) as reader:
        assert [item for item, _ in one_ahead(iter(range(1, 8)), reader)] == list(range(1, 8))
        assert list(one_ahead(iter(()), reader)) == []


def test_the_next_item_is_made_in_another_thread_while_one_is_used_and_none_further() -> None:
    made: list[int] = []
    threads: set[int] = set()
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(1, 6):
            made.append(number)
            threads.add(threading.get_ident())
            if number == 2:
                second.set()
            yield number

    with ThreadPoolExecutor(1) as reader:
        ahead = one_ahead(items(), reader)
        assert next(ahead)[0] == 1
        assert second.wait(10)  # nobody asked for it yet
        assert next(ahead)[0] == 2
        reader.submit(lambda: None).result()
        assert made == [1, 2, 3]
    assert threads
    assert threading.get_ident() not in threads


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("clip-7 is torn")

    with ThreadPoolExecutor(1) as reader:
        ahead = one_ahead(items(), reader)
        assert next(ahead)[0] == 1
        with pytest.raises(OSError, match="clip-7 is torn"):
            next(ahead)


def test_whoever_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()

    def use() -> None:
        with ThreadPoolExecutor(1) as reader:
            for item, _ in one_ahead(iter(range(1, 1000)), reader):
                if item == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert threading.active_count() == before


def test_only_what_is_waited_for_counts() -> None:
    """Of the first item all of its making, of the second nothing: it is ready when it is asked for."""
    ready = threading.Event()

    def items() -> Iterator[int]:
        time.sleep(0.05)
        yield 1
        time.sleep(0.05)
        ready.set()
        yield 2

    with ThreadPoolExecutor(1) as reader:
        ahead = one_ahead(items(), reader)
        _, first_s = next(ahead)
        assert ready.wait(10)
        time.sleep(0.05)
        _, second_s = next(ahead)
    assert first_s >= 0.05
    assert second_s < 0.04
