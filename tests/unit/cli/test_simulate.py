"""`manta simulate` as it is typed; the publishing itself is tested where it lives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import Result

from app.errors import NotConnected
from cli.main import EVENTFUL_DAY, cli
from cli.outside import Outside
from cli.simulate import Simulation
from connectors.simulator import Simulated
from models.training.environment import readings
from tests.fakes.server import TERMINAL


@dataclass
class FakeSensors:
    """Publishes two readings and a frame, and hears one action."""

    fails: Exception | None = None
    asked: list[Simulation] = field(default_factory=list)

    async def __call__(
        self,
        simulation: Simulation,
        show: Callable[[str], None],
        published: Callable[[str], None],
    ) -> Simulated:
        self.asked.append(simulation)
        if self.fails is not None:
            raise self.fails
        published(simulation.reading_topic)
        published(simulation.reading_topic)
        if simulation.picture is not None:
            published(simulation.frame_topic)
        show('actuators/ventilation {"on": [true]}')
        return Simulated(2, 1)


def run(sensors: FakeSensors, *arguments: str) -> Result:
    return TERMINAL.invoke(cli, ["simulate", *arguments], obj=Outside(simulate=sensors))


def test_actions_and_the_count_are_printed(tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    picture.write_bytes(b"jpeg")
    sensors = FakeSensors()
    result = run(sensors, "--frames", str(picture), "--topic-prefix", "site/a", "--rate", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "publishing to 127.0.0.1:1883: site/a/sim/env and site/a/cam1/frame"
    assert 'actuators/ventilation {"on": [true]}' in lines
    assert lines[-1].endswith("s: readings 2, frames 1, actions 1")
    [asked] = sensors.asked
    assert (asked.picture, asked.rate, asked.actions) == (b"jpeg", 2.0, "actuators/#")


def test_the_simulated_day_gives_the_agents_something_to_do() -> None:
    first_seconds = list(islice(readings(EVENTFUL_DAY), 60))
    assert any(each.label == "stuffy" and each.values[0] > 1000 for each in first_seconds)


def test_without_a_picture_there_is_no_word_of_frames() -> None:
    result = run(FakeSensors())
    assert "frame" not in result.stdout


def test_a_broker_that_is_away_is_one_line_and_says_how_to_start_one() -> None:
    result = run(FakeSensors(NotConnected("cannot reach the broker")), "--broker", "localhost:77")
    assert result.exit_code == 1
    assert result.stderr == ("manta: cannot reach the broker; start one with: mosquitto -p 77\n")


def test_a_broker_elsewhere_is_not_ours_to_start() -> None:
    result = run(FakeSensors(NotConnected("cannot reach the broker")), "--broker", "10.0.0.7")
    assert result.stderr == "manta: cannot reach the broker\n"


@pytest.mark.parametrize(
    ("broker", "host", "port"),
    [("h", "h", 1883), ("h:77", "h", 77), ("[::1]:77", "::1", 77), ("[::1]", "::1", 1883)],
)
def test_addresses(broker: str, host: str, port: int) -> None:
    sensors = FakeSensors()
    assert run(sensors, "--broker", broker).exit_code == 0
    assert (sensors.asked[0].host, sensors.asked[0].port) == (host, port)


@pytest.mark.parametrize("broker", ["", ":77", "h:port", "h:99999", "mqtt://h"])
def test_what_is_no_address_is_refused(broker: str) -> None:
    sensors = FakeSensors()
    result = run(sensors, "--broker", broker)
    assert result.exit_code == 1
    assert f"--broker {broker!r}" in result.stderr
    assert sensors.asked == []
