"""What the commands take from outside, so that tests can give them something else."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console

from app.errors import MantaError
from cli.server import Server
from cli.simulate import Simulate

PIPED_WIDTH = 160


@dataclass(frozen=True)
class Outside:
    """The server to talk to, by its URL, what simulates sensors (None: MQTT does), and time."""

    connect: Callable[[str], Server] = Server
    simulate: Simulate | None = None
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def console() -> Console:
    """Tables as wide as the terminal; into a pipe or a file wide enough not to be folded."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPED_WIDTH if piped else None, highlight=False)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """An error that is foreseen becomes one line on stderr and exit code 1."""
    try:
        yield
    except MantaError as error:
        typer.echo(f"manta: {error}", err=True)
        raise typer.Exit(1) from error
