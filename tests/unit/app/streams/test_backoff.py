import random

import pytest

from app.streams.backoff import BackOff


def test_grows_to_the_cap() -> None:
    backoff = BackOff(lambda: 1.0)
    pauses = [backoff.after(0.0) for _ in range(30)]
    assert pauses[:3] == pytest.approx([1.0, 1.2, 1.44])
    assert pauses[-1] == 30.0


def test_a_short_connection_does_not_start_it_anew() -> None:
    backoff = BackOff(lambda: 1.0)
    assert backoff.after(0.0) == 1.0
    assert backoff.after(29.9) == 1.2
    assert backoff.after(30.0) == 1.0


def test_fault_089_back_within_5_s_after_a_break_of_10_s() -> None:
    chance = random.Random(89)
    late = 0
    for _ in range(2000):
        backoff, elapsed = BackOff(chance.random), 0.0
        while elapsed < 10.0:
            elapsed += backoff.after(0.0)
        late += elapsed > 15.0
    assert late / 2000 < 0.03
