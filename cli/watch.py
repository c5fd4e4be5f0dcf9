"""`manta status --watch`: the same again and again, also while the server is away."""

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from app.errors import MantaError
from cli.outside import Outside
from cli.server import Server
from cli.status import Rates, view

PERIOD_S = 1.0


class Watch:
    """What is on the screen: the newest status, or the last one and since when there is none."""

    def __init__(self, server: Server, outside: Outside, *, wide: bool) -> None:
        self._wide = wide
        self._server = server
        self._monotonic = outside.monotonic
        self._rates = Rates()
        self._last: RenderableType = Text()
        self._away_since: float | None = None

    def look(self) -> RenderableType:
        now = self._monotonic()
        try:
            status = self._server.status()
        except MantaError as error:
            if self._away_since is None:
                self._away_since = now
            away = f"away for {now - self._away_since:.0f} s: {error}"
            return Group(self._last, Text(away, style="bold red"))
        self._away_since = None
        self._rates.look(now)
        self._last = view(status, self._rates, wide=self._wide)
        return self._last


def watch(
    server: Server,
    outside: Outside,
    console: Console,
    *,
    as_json: bool = False,
    wide: bool = False,
) -> None:
    """Redraw every second until Ctrl-C; where nothing can be redrawn, print below each other.

    As JSON it is one document a line.
    """
    try:
        if as_json:
            _print_documents(server, outside)
        elif console.is_terminal:
            _redraw(Watch(server, outside, wide=wide), outside, console)
        else:
            _print(Watch(server, outside, wide=wide), outside, console)
    except KeyboardInterrupt:
        return


def _redraw(watched: Watch, outside: Outside, console: Console) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(watched.look(), refresh=True)
            outside.sleep(PERIOD_S)


def _print(watched: Watch, outside: Outside, console: Console) -> None:
    while True:
        console.print(watched.look())
        outside.sleep(PERIOD_S)


def _print_documents(server: Server, outside: Outside) -> None:
    while True:
        try:
            typer.echo(orjson.dumps(server.status()))
        except MantaError as error:
            typer.echo(f"manta: {error}", err=True)
        outside.sleep(PERIOD_S)
