"""`manta simulate`: sensors that are not there, and what the pipelines do about them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from rich.console import Console
from rich.live import Live
from rich.text import Text

from app.errors import InvalidInput, NotConnected

if TYPE_CHECKING:  # it brings every connector with it, which the other commands need not
    from connectors.simulator import Simulated

MQTT_PORT = 1883
HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Simulation:
    """What to publish, where, and which topics bring the answers.

    `rate` is in readings per second, `frame_rate` in frames per second. `picture` None means no
    frames, `actions` None that nobody listens.
    """

    host: str
    port: int = MQTT_PORT
    seconds: float = 60.0
    rate: float = 5.0
    picture: bytes | None = None
    frame_rate: float = 1.0
    topic_prefix: str = "sensors/floor1"
    actions: str | None = "actuators/#"

    @property
    def reading_topic(self) -> str:
        return f"{self.topic_prefix}/sim/env"

    @property
    def frame_topic(self) -> str:
        return f"{self.topic_prefix}/cam1/frame"


Notice: TypeAlias = Callable[[str], None]
Simulate: TypeAlias = Callable[[Simulation, Notice, Notice], Awaitable["Simulated"]]
"""Given what to publish, a callback for each action ("topic payload") and one for the topic of
each publication. Raises NotConnected for a broker that is away."""


def address_of(broker: str) -> tuple[str, int]:
    """Host and port of "host", "host:port" or "[v6]:port". Raises InvalidInput."""
    try:
        parts = urlsplit(f"//{broker}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"--broker {broker!r}: {error}") from error
    if not host or parts.path or parts.query:
        raise InvalidInput(f"--broker {broker!r}: write HOST or HOST:PORT")
    return host, port or MQTT_PORT


def simulate(run: Simulate, simulation: Simulation, console: Console) -> None:
    """Publish to the end or to Ctrl-C, printing every action and, meanwhile, the count."""
    progress = _Progress(simulation)
    console.print(
        f"publishing to {simulation.host}:{simulation.port}: {simulation.reading_topic}"
        + (f" and {simulation.frame_topic}" if simulation.picture else ""),
        soft_wrap=True,
    )
    try:
        with Live(get_renderable=progress.line, console=console, transient=True) as live:

            def show(action: str) -> None:
                progress.actions += 1
                live.console.print(Text(action), soft_wrap=True)

            asyncio.run(_as_coroutine(run(simulation, show, progress.published)))
    except NotConnected as error:
        local = simulation.host in HERE
        hint = f"; start one with: mosquitto -p {simulation.port}" if local else ""
        raise NotConnected(f"{error}{hint}") from error
    except KeyboardInterrupt:
        pass
    console.print(progress.line())


async def _as_coroutine(simulated: "Awaitable[Simulated]") -> "Simulated":
    return await simulated


class _Progress:
    """What was published so far, and what came back."""

    def __init__(self, simulation: Simulation) -> None:
        self.actions = 0
        self._simulation = simulation
        self._readings = 0
        self._frames = 0
        self._started = time.monotonic()

    def published(self, topic: str) -> None:
        if topic == self._simulation.reading_topic:
            self._readings += 1
        else:
            self._frames += 1

    def line(self) -> Text:
        elapsed = time.monotonic() - self._started
        frames = f"frames {self._frames}, " if self._simulation.picture else ""
        text = f"{elapsed:.0f} s: readings {self._readings}, {frames}actions {self.actions}"
        return Text(text, style="bold")
