"""The `manta` command: looks at a running server, asks it, and checks files before a start.

The composition root of the command line. What takes long to import is imported by the one command
that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

import app
from cli.infer import infer as infer_file
from cli.outside import Outside, console, one_line_errors
from cli.report import show
from cli.simulate import Notice, Simulation, address_of
from cli.simulate import simulate as run_simulation
from cli.status import view
from cli.watch import watch as watch_status

if TYPE_CHECKING:
    from connectors.simulator import Simulated

URL = "http://127.0.0.1:8000"
EVENTFUL_DAY = 140
"""Seed of simulated room air that is stuffy after 32 readings and has other trouble later."""

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Manta, a model server for the edge. Start it with: manta run",
)

Url = Annotated[str, typer.Option(envvar="MANTA_URL", help="Address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def main() -> None:
    cli()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"manta {app.__version__}")
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Nothing but `--version` goes before the command's name."""


@cli.command()
def run(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A serve config.")
    ] = Path("serve_config.yaml"),
) -> None:
    """Check the configuration and the ports, then start everything; Ctrl-C ends all of it."""
    from cli.run import start

    start(file, console())


@cli.command()
def status(
    context: typer.Context,
    url: Url = URL,
    watch: Annotated[bool, typer.Option(help="Again every second, with rates.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Columns that say nothing, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the server holds: models, pipelines, connectors, and their counts."""
    outside = context.ensure_object(Outside)
    with one_line_errors():
        server = outside.connect(url)
        if watch:
            watch_status(server, outside, console(), as_json=as_json, wide=wide)
        elif as_json:
            typer.echo(orjson.dumps(server.status(), option=orjson.OPT_INDENT_2))
        else:
            console().print(view(server.status(), wide=wide))


@cli.command()
def infer(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A pipeline or a model.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What to send.")],
    url: Url = URL,
    annotate: Annotated[
        Path | None,
        typer.Option(
            help="Save the picture with what was found drawn on it, instead of printing it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a picture or JSON to a pipeline, or JSON or a .npy file to a model."""
    outside = context.ensure_object(Outside)
    with one_line_errors():
        server = outside.connect(url)
        infer_file(server, name, file, console(), annotate=annotate, as_json=as_json)


@cli.command()
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Serve configs, pipelines files or model.yaml files."),
    ] = None,
    ports: Annotated[
        bool, typer.Option("--ports", help="Also check that nobody listens on the ports yet.")
    ] = False,
) -> None:
    """Check configuration without starting anything; without FILES, all that a server reads."""
    from deployments.args import PROJECT
    from deployments.checks.validate import validate_file

    here = Path("serve_config.yaml")
    wanted = files or [here if here.exists() else PROJECT / here]
    reports = [validate_file(file, ports=ports) for file in wanted]
    for report in reports:
        show(report, console())
    if not all(report.good for report in reports):
        raise typer.Exit(1)


@cli.command()
def simulate(
    context: typer.Context,
    broker: Annotated[str, typer.Option(help="Address of the MQTT broker.")] = "127.0.0.1:1883",
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Readings per second.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to go on.")] = 60.0,
    frames: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A picture for a camera to wander over."),
    ] = None,
    frame_rate: Annotated[float, typer.Option(min=0.01, max=100, help="Frames per second.")] = 1.0,
    topic_prefix: Annotated[
        str, typer.Option(help="Of PREFIX/sim/env and PREFIX/cam1/frame.")
    ] = "sensors/floor1",
    actions: Annotated[
        str, typer.Option(help="Topic filter of the actions to print; empty for none.")
    ] = "actuators/#",
) -> None:
    """Play the sensors and the camera of a site over MQTT, and print what comes back."""
    outside = context.ensure_object(Outside)
    with one_line_errors():
        host, port = address_of(broker)
        simulation = Simulation(
            host=host,
            port=port,
            seconds=seconds,
            rate=rate,
            picture=None if frames is None else frames.read_bytes(),
            frame_rate=frame_rate,
            topic_prefix=topic_prefix,
            actions=actions or None,
        )
        run_simulation(outside.simulate or _over_mqtt, simulation, console())


async def _over_mqtt(simulation: Simulation, show: Notice, published: Notice) -> "Simulated":
    from connectors.mqtt.config import BrokerConfig
    from connectors.mqtt.simulator import simulate_sensors
    from models.training.environment import readings

    return await simulate_sensors(
        BrokerConfig(host=simulation.host, port=simulation.port),
        seconds=simulation.seconds,
        readings=(dict(reading.payload()) for reading in readings(EVENTFUL_DAY)),
        readings_per_s=simulation.rate,
        reading_topic=simulation.reading_topic,
        picture=simulation.picture,
        frames_per_s=simulation.frame_rate,
        frame_topic=simulation.frame_topic,
        actions_filter=simulation.actions,
        show=show,
        published=published,
    )
