import time

import pytest

from twotower.core.timer import Stopwatch


def test_it_adds_up_its_blocks_and_counts_sleep_by_the_clock_only():
    watch = Stopwatch()
    for _ in range(2):
        with watch:
            time.sleep(0.05)
    assert watch.seconds >= 0.1
    assert watch.cpu_seconds < watch.seconds
    before = (watch.seconds, watch.cpu_seconds)
    sum(range(200_000))
    assert (watch.seconds, watch.cpu_seconds) == before


def test_a_block_that_fails_counts_too():
    watch = Stopwatch()

    def fail():
        with watch:
            time.sleep(0.01)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert watch.seconds >= 0.01
