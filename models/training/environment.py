"""Traces of one office room as five sensors see it, with what is going on as the label.

    python -m models.training.environment --seconds 600 > recording.jsonl

A box model with one time step per reading: a well-mixed room of 150 m3, people who breathe out
CO2, heat, moisture and volatile organics, fresh air that carries all of it away, a controlled
temperature, and weather outside. Sources of the numbers: CO2 per person at office work, 0.0052 l/s
(ASTM D6245); 1000 ppm as the limit of good air (Pettenkofer); the rail values of sensors are what
common parts report when they are cold-started, saturated or off the bus.

Depends on numpy alone.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

CHANNELS = ("co2_ppm", "temperature", "humidity", "pressure", "voc")
"""Parts per million, degrees Celsius, relative per cent, hectopascal, parts per billion."""

LABELS = ("normal", "stuffy", "voc_event", "overheating", "sensor_fault")

DAY = 86_400.0
SOURCE = "sensors/floor1/node1/env"

VOLUME = 150.0
SEATS = 12
CO2_PER_PERSON = 5.2e-6
OUTDOOR_CO2 = 420.0
OUTDOOR_VOC = 60.0

STUFFY_CO2 = 1000.0
VOC_EVENT = 150.0
OVERHEATED = 28.0

NOISE = {"co2_ppm": 12.0, "temperature": 0.08, "humidity": 0.6, "pressure": 0.15, "voc": 6.0}
RAILS = {
    "co2_ppm": (0.0, 5000.0, 65535.0),
    "temperature": (-45.0, 85.0, 125.0),
    "humidity": (0.0, 100.0),
    "pressure": (300.0, 1100.0),
    "voc": (0.0, 60000.0),
}


@dataclass(frozen=True, slots=True)
class Episode:
    """Something out of the ordinary, from `start` for `duration`, both in simulated seconds.

    `kind` is one of LABELS. The label follows the effect, not the cause: a reading is `stuffy`
    once the air is, which is a while after the window was shut and lasts until it is clean again.
    """

    kind: str
    start: float
    duration: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: simulated seconds since midnight of the first day, values in CHANNELS order."""

    time: float
    values: tuple[float, ...]
    label: str

    def payload(self) -> dict[str, float]:
        return dict(zip(CHANNELS, self.values, strict=True))


def readings(
    seed: int,
    *,
    step: float = 60.0,
    start: float = 8 * 3600.0,
    episodes: Sequence[Episode] | None = None,
) -> Iterator[Reading]:
    """Readings without end, `step` simulated seconds apart, the same ones for the same arguments.

    `episodes` None means one after the other at random, a few a day.
    """
    rng = np.random.default_rng(seed)
    plan = iter(_random_episodes(rng.spawn(1)[0], start) if episodes is None else episodes)
    room = _Room(rng, start)
    sensors = _Sensors(rng)
    episode = next(plan, None)
    for number in count():
        now = start + number * step
        while episode is not None and now >= episode.start + episode.duration:
            episode = next(plan, None)
        running = episode if episode is not None and now >= episode.start else None
        room.advance(now, step, "" if running is None else running.kind)
        fault = running if running is not None and running.kind == "sensor_fault" else None
        values, faulty = sensors.read(room.state(), fault)
        yield Reading(now, values, "sensor_fault" if faulty else room.label())


def _random_episodes(rng: np.random.Generator, start: float) -> Iterator[Episode]:
    kinds = {
        "stuffy": (90.0, 240.0),
        "voc_event": (5.0, 30.0),
        "overheating": (60.0, 180.0),
        "sensor_fault": (5.0, 60.0),
    }
    time = start
    while True:
        time += float(rng.exponential(4 * 3600.0))
        kind = str(rng.choice(list(kinds)))
        duration = 60.0 * float(rng.uniform(*kinds[kind]))
        yield Episode(kind, time, duration)
        time += duration


class _Room:
    """The true state of the air, moved on in time by `advance`."""

    def __init__(self, rng: np.random.Generator, now: float) -> None:
        self._rng = rng
        self._people = SEATS * _presence(now)
        self._co2 = OUTDOOR_CO2 + 200.0
        self._temperature = 21.0
        self._voc = OUTDOOR_VOC + 40.0
        self._spilled = 0.0
        self._moisture = 0.0
        self._weather = float(rng.normal(0.0, 8.0))

    def advance(self, now: float, step: float, kind: str) -> None:
        stuffy = kind == "stuffy"
        people = SEATS * (1.0 if stuffy else _presence(now))
        self._people += (people - self._people) * _share(step, 900.0)
        self._people = float(np.clip(self._people + self._noise(0.3, step), 0.0, 2 * SEATS))
        changes = (0.3 if stuffy else 1.0 + 2.5 * _presence(now)) / 3600.0
        exchanged = _share(step, 1.0 / changes)

        breathed = self._people * CO2_PER_PERSON / VOLUME * 1e6 / changes
        self._co2 += (OUTDOOR_CO2 + breathed - self._co2) * exchanged
        emitted = self._people * 0.012 / changes
        self._voc += (OUTDOOR_VOC + emitted - self._voc) * exchanged
        self._spilled *= 1.0 - exchanged
        if kind == "voc_event":
            self._spilled += 2.0 * step

        sun = math.sin(2 * math.pi * (now / DAY - 0.375))
        wanted = 38.0 if kind == "overheating" else 20.5 + 1.5 * _presence(now) + 1.5 * sun
        self._temperature += (wanted - self._temperature) * _share(step, 2400.0)
        self._temperature += self._noise(0.05, step)
        self._moisture += -self._moisture * _share(step, DAY / 4) + self._noise(0.4, step)
        self._weather += -self._weather * _share(step, DAY) + self._noise(0.2, step)

    def state(self) -> tuple[float, ...]:
        """The true values, in CHANNELS order."""
        humidity = 45.0 + self._moisture + 0.4 * self._people - 1.6 * (self._temperature - 21.0)
        return (
            self._co2,
            self._temperature,
            float(np.clip(humidity, 8.0, 92.0)),
            1013.0 + self._weather,
            self._voc + self._spilled,
        )

    def label(self) -> str:
        if self._spilled > VOC_EVENT:
            return "voc_event"
        if self._temperature > OVERHEATED:
            return "overheating"
        return "stuffy" if self._co2 > STUFFY_CO2 else "normal"

    def _noise(self, per_minute: float, step: float) -> float:
        return float(self._rng.normal(0.0, per_minute * math.sqrt(step / 60.0)))


class _Sensors:
    """What the sensors report of the true state: noise, and faults of one channel at a time.

    A faulty channel either sticks at one of its rails or jumps about. Between jumps it reads
    right, and such readings are not labelled as faulty.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._fault: Episode | None = None
        self._channel = 0
        self._stuck_at: float | None = None

    def read(
        self, state: tuple[float, ...], fault: Episode | None
    ) -> tuple[tuple[float, ...], bool]:
        """The reported values, and whether one of them is wrong."""
        values = [
            true + float(self._rng.normal(0.0, NOISE[channel] + 0.01 * gain * true))
            for channel, true, gain in zip(CHANNELS, state, (1, 0, 0, 0, 3), strict=True)
        ]
        if fault is not self._fault:
            self._fault = fault
            self._break()
        faulty = fault is not None and (self._stuck_at is not None or self._rng.random() < 0.5)
        if faulty:
            values[self._channel] = self._wrong()
        return tuple(round(max(value, -45.0), 2) for value in values), faulty

    def _break(self) -> None:
        self._channel = int(self._rng.integers(len(CHANNELS)))
        rails = RAILS[CHANNELS[self._channel]]
        self._stuck_at = float(self._rng.choice(rails)) if self._rng.random() < 0.5 else None

    def _wrong(self) -> float:
        if self._stuck_at is not None:
            return self._stuck_at
        low, high = {
            "co2_ppm": (6000.0, 40000.0),
            "temperature": (50.0, 120.0),
            "humidity": (100.0, 140.0),
            "pressure": (300.0, 900.0),
            "voc": (8000.0, 60000.0),
        }[CHANNELS[self._channel]]
        return float(self._rng.uniform(low, high))


def _presence(now: float) -> float:
    """The share of seats taken: office hours on five days of seven, a dip at noon."""
    hour = now % DAY / 3600.0
    if (now // DAY) % 7 >= 5:
        return 0.0
    arrived = 1.0 / (1.0 + math.exp(-2.0 * (hour - 8.5)))
    left = 1.0 / (1.0 + math.exp(-2.0 * (hour - 17.5)))
    lunch = 0.5 * math.exp(-((hour - 12.5) ** 2) / 0.3)
    return 0.7 * max(arrived - left - lunch, 0.0)


def _share(step: float, time_constant: float) -> float:
    """How much of the way to its goal a first-order process goes in one step."""
    return 1.0 - math.exp(-step / time_constant)


DEMONSTRATION = (
    Episode("voc_event", 8.1 * 3600, 8 * 60.0),
    Episode("sensor_fault", 9.2 * 3600, 12 * 60.0),
    Episode("stuffy", 9.5 * 3600, 100 * 60.0),
    Episode("overheating", 13.5 * 3600, 80 * 60.0),
    Episode("voc_event", 16.5 * 3600, 10 * 60.0),
)
"""A working day from eight o'clock with one of everything, the first within minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a recording, one JSON object a line.")
    parser.add_argument("--seconds", type=int, default=600, help="length, one reading a second")
    parser.add_argument("--speed", type=float, default=60.0, help="simulated seconds per second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    trace = readings(arguments.seed, step=arguments.speed, episodes=DEMONSTRATION)
    for second, reading in enumerate(islice(trace, arguments.seconds)):
        print(json.dumps({"t": float(second), "source": SOURCE, "payload": reading.payload()}))


if __name__ == "__main__":
    main()
