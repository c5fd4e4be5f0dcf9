"""A server that runs and answers rightly, and how to wait for one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.bodies import Encoding, build_body, check_answer
from benchmarks.models import BenchmarkModel
from benchmarks.processes import Program, running

Models = Mapping[str, BenchmarkModel]


@dataclass(frozen=True)
class Command:
    """How a server is started, with `environment` on top of ours, in `directory`."""

    words: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


@dataclass(frozen=True)
class RunningServer:
    """`grpc` is host:port, or empty; `direct` the port of a gateway's direct door, or 0;
    `versions` are those of the packages that serve."""

    program: Program
    url: str
    versions: Mapping[str, str]
    grpc: str = ""
    direct: int = 0

    def infer_url(self, model: str) -> str:
        return f"{self.url}/v2/models/{model}/infer"


def wrong_answer(server: RunningServer, model: BenchmarkModel, encoding: Encoding) -> str | None:
    """Ask once; None if the answer is right, otherwise what is wrong with it."""
    body = build_body(model, encoding)
    try:
        answer = httpx.post(
            server.infer_url(model.name), content=body.content, headers=body.headers, timeout=30
        )
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}: {answer.text[:160]}"
        check_answer(model, dict(answer.headers), answer.content)
    except (httpx.HTTPError, ValueError, KeyError, UnicodeDecodeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def serving(
    models: Models,
    command: Command,
    versions: Mapping[str, str],
    http: int,
    grpc: int | None = None,
) -> Iterator[RunningServer]:
    """Run it until the block is left; ready once it has answered for every model correctly.

    `http` and `grpc` are its ports on the loopback address. Raises StartFailed.
    """
    address = "" if grpc is None else f"127.0.0.1:{grpc}"
    with running(command.words, command.environment, command.directory) as program:
        server = RunningServer(program, f"http://127.0.0.1:{http}", versions, address)
        waiting = list(models.values())

        def ready() -> bool:
            while waiting and wrong_answer(server, waiting[0], "json") is None:
                waiting.pop(0)
            return not waiting

        program.wait_until(ready)
        yield server


def repository_of(models: Models) -> Path:
    return next(iter(models.values())).file.parents[2]
