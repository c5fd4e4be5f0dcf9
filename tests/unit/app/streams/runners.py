"""Runners of scripted sources, for tests."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from app.config.connectors import OnFull
from app.pipeline.outcome import Outcome
from app.streams.source_runner import Process, SourceRunner
from app.types import Message
from tests.fakes.streams import ScriptedSource, Step
from tests.virtual_time import virtual_loop


async def processed(message: Message) -> Outcome:
    return Outcome("processed", None, message)


def slow(seconds: float) -> Process:
    async def process(message: Message) -> Outcome:
        await asyncio.sleep(seconds)
        return Outcome("processed", None, message)

    return process


def total(runner: SourceRunner) -> Mapping[str, object]:
    return cast(Mapping[str, object], runner.counts.snapshot()["total"])


def runner_of(
    source: ScriptedSource,
    process: Process = processed,
    *,
    depth: int = 100,
    on_full: OnFull = "drop_oldest",
    concurrency: int = 1,
    random: Callable[[], float] = lambda: 1.0,
) -> SourceRunner:
    return SourceRunner(
        "test",
        source,
        process,
        clock=virtual_loop(),
        max_queue_depth=depth,
        on_full=on_full,
        max_concurrency=concurrency,
        random=random,
    )


def scripted(
    *script: Step, connects: Iterable[Exception | None] = (), ends: bool = True
) -> ScriptedSource:
    return ScriptedSource(virtual_loop(), script, connects, ends)
