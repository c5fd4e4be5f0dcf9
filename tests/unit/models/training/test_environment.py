import json
from itertools import islice

import numpy as np
import pytest

from models.training.environment import (
    CHANNELS,
    DEMONSTRATION,
    LABELS,
    SOURCE,
    Episode,
    readings,
)
from tests.paths import ROOT

HOUR = 3600.0


def test_the_same_seed_gives_the_same_room() -> None:
    first, again, other = (list(islice(readings(seed), 300)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_quiet_day_stays_plausible() -> None:
    day = list(islice(readings(3, start=0.0, episodes=()), 24 * 60))
    values = np.array([reading.values for reading in day])
    low, high = values.min(axis=0), values.max(axis=0)
    assert (low > (380, 16, 8, 980, 20)).all()
    assert (high < (1200, 27, 92, 1045, 500)).all()
    assert {reading.label for reading in day} <= {"normal", "stuffy"}
    night, noon = values[3 * 60 : 5 * 60, 0].mean(), values[11 * 60 : 12 * 60, 0].mean()
    assert noon > night + 150


@pytest.mark.parametrize("kind", LABELS[1:])
def test_an_episode_shows_and_passes(kind: str) -> None:
    episode = Episode(kind, 10 * HOUR, 2 * HOUR)
    trace = list(islice(readings(5, episodes=[episode]), 14 * 60))
    seen = [reading.time for reading in trace if reading.label == kind]
    assert len(seen) >= 20
    assert episode.start <= seen[0] < episode.start + HOUR
    assert trace[-1].label == "normal"


def test_random_episodes_are_of_every_kind() -> None:
    month = islice(readings(6, step=120.0), 30 * 24 * 30)
    assert {reading.label for reading in month} == set(LABELS)


def test_the_bundled_recording_is_what_the_generator_writes() -> None:
    text = (ROOT / "config" / "recordings" / "environment.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    trace = list(islice(readings(1, episodes=DEMONSTRATION), len(lines)))
    assert [line["t"] for line in lines] == list(range(600))
    assert {line["source"] for line in lines} == {SOURCE}
    recorded = np.array([[line["payload"][name] for name in CHANNELS] for line in lines])
    np.testing.assert_allclose(recorded, [reading.values for reading in trace], atol=0.02)
    first = {label: [r.label for r in trace].index(label) for label in LABELS}
    assert first["voc_event"] < 15
    assert max(first.values()) < 400
