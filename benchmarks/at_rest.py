"""What the product takes when nobody asks it anything, and what each step towards that brought.

    python -m benchmarks.at_rest [--seconds 30]

Every step is a start of its own with the demo's models, pipelines and streams: processor time of
all processes over the seconds, as a part of one core, their memory (PSS), their number, the time
until all models are ready, and how long the server is away when its gateway is killed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.processes import Program, free_ports, running
from benchmarks.ray_config import (
    PROJECT,
    Ports,
    haproxy_config,
    one_box_config,
    ray_environment,
    serve_run,
)
from benchmarks.report import conditions, write_results
from cli.run import ENVIRONMENT, ON_LOOPBACK

SETTLE_SECONDS = 15.0
SLOWED_IN_SERVE = ("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS")


@dataclass(frozen=True)
class Step:
    """One way to run the product; `kept` are those of SLOWED_IN_SERVE that it has."""

    label: str
    haproxy: bool = False
    kept: tuple[str, ...] = SLOWED_IN_SERVE
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)


PLAIN = {name: ENVIRONMENT[name] for name in ("RAY_DEDUP_LOGS", "RAY_worker_niceness")}
STEPS = (
    Step("HAProxy in front (config/serve_haproxy.yaml)", True, (), PLAIN),
    Step("one port, no proxy", False, (), PLAIN),
    Step("and Serve looks after replicas twice a second", False, SLOWED_IN_SERVE[:1], PLAIN),
    Step("and its counters leave every 5 s", False, SLOWED_IN_SERVE, PLAIN),
    Step("and Ray's own metrics and reports are off or rarer: `manta run`"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    lines = [
        "## At rest",
        "",
        conditions(),
        f"Nobody asks anything; processor time over {seconds:.0f} s, one start each.",
        "",
        "| | processor | memory | processes | ready after | away when killed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for step in STEPS:
        lines.append(f"| {step.label} | {' | '.join(measured(step, seconds))} |")
        print(lines[-1], flush=True)
    write_results({"rest": "\n".join(lines)})


def measured(step: Step, seconds: float) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mb-") as directory:
        ports = Ports(*free_ports(3))
        url = f"http://127.0.0.1:{ports.http}/v2/health"
        config = Path(directory, "serve_config.yaml")
        config.write_text(yaml.safe_dump(_config(step, ports, Path(directory))))
        environment = {**ray_environment(Path(directory)), **ON_LOOPBACK, **step.environment}
        start = time.monotonic()
        with running(serve_run(config), environment, PROJECT) as program:
            program.wait_until(lambda: _answers(f"{url}/ready"))
            ready = time.monotonic() - start
            time.sleep(SETTLE_SECONDS)
            before = _processor_seconds(program)
            time.sleep(seconds)
            after = _processor_seconds(program)
            used = sum(value - before.get(pid, value) for pid, value in after.items())
            sizes = [size for pid in after if (size := _size(pid))]
            yield f"{used / seconds:.1%} of a core"
            yield f"{sum(sizes) / 1e6:,.0f} MB"
            yield f"{len(sizes)}"
            yield f"{ready:.1f} s"
            yield f"{_away(program, f'{url}/live'):.1f} s"


def _config(step: Step, ports: Ports, directory: Path) -> dict[str, Any]:
    config = (haproxy_config if step.haproxy else one_box_config)(ports, directory)
    places = [config["controller_options"], *config["applications"]]
    for place in places:
        variables = dict(place["runtime_env"]["env_vars"])
        for name in set(SLOWED_IN_SERVE) - set(step.kept):
            variables.pop(name, None)
        place["runtime_env"] = {"env_vars": variables}
    return config


def _away(program: Program, url: str) -> float:
    """Seconds from the end of the gateway's process to the next answer."""
    gateway = next(each for each in program.processes() if "gateway" in "".join(each.cmdline()))
    gateway.kill()
    start = time.monotonic()
    program.wait_until(lambda: _answers(url))
    return time.monotonic() - start


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _processor_seconds(program: Program) -> dict[int, float]:
    """By process; those of Ray's dashboard have written their names over their environment, by
    which a program's others are found, and are known by their parents."""
    found = {}
    for marked in program.processes():
        with suppress(psutil.Error):
            for each in (marked, *marked.children(recursive=True)):
                found[each.pid] = sum(each.cpu_times()[:2])
    return found


def _size(pid: int) -> int:
    """PSS in bytes; 0 for a process that has ended."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
