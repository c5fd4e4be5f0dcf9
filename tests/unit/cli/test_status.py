"""`manta status` as it is typed, against a server in memory."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx
import pytest
from typer.testing import Result

from app.types import JsonValue
from cli.main import cli
from cli.outside import Outside
from cli.server import Server
from tests.fakes.server import TERMINAL, FakeServer, Json


def model(**counts: JsonValue) -> Json:
    zero = dict.fromkeys(("succeeded", "failed", "shed", "expired", "cancelled", "runs", "rows"), 0)
    times = {"queue_seconds": 0.0, "run_seconds": 0.0}
    return {"state": "ready", "reason": "", **zero, **times, **counts}


def process(name: str = "gateway", replica: str = "abcd1234", **sections: JsonValue) -> Json:
    return {"application": name, "replica": replica, "pid": 7, **sections}


def tally(captured: int, processed: int, in_flight: int, **dropped: int) -> Json:
    return {
        "captured": captured,
        "processed": processed,
        "downgraded": 0,
        "dropped": dict(dropped),
        "in_flight": in_flight,
    }


def run(server: FakeServer, *arguments: str, outside: Outside | None = None) -> Result:
    return TERMINAL.invoke(cli, ["status", *arguments], obj=outside or server.outside())


def row(output: str, name: str) -> list[str]:
    """The words of the first line that begins with `name`."""
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [name])


def test_a_model_with_its_counts_and_means() -> None:
    busy = model(
        succeeded=1999, failed=1, shed=3, expired=4, runs=500, rows=2000,
        queue_seconds=5.0, run_seconds=6.0,
    )  # fmt: skip
    result = run(FakeServer([process(models={"digits": busy})]), "--wide")
    assert result.exit_code == 0
    assert row(result.output, "digits") == [
        "digits", "ready", "gateway", "abcd1234", "1,999", "1", "3", "4", "4.0", "2.5", "12.0",
    ]  # fmt: skip


def test_a_model_that_failed_to_load_says_why() -> None:
    broken: Json = {"state": "failed", "reason": "model.yaml:3: labels: no such output"}
    result = run(FakeServer([process(models={"digits": broken})]))
    assert row(result.output, "digits")[1] == "failed"
    assert "digits reason: model.yaml:3: labels: no such output" in result.output


def test_pipelines_that_run_and_one_that_cannot() -> None:
    pipelines: Json = {
        "read-text": {
            "state": "ready", "processed": 3, "downgraded": 1, "dropped": 4, "failed": 2,
            "seconds": 0.8, "last_error": "detect: too late",
        },
        "find-objects": {"state": "unavailable", "reason": "there is no model 'yolo'"},
    }  # fmt: skip
    result = run(FakeServer([process(pipelines=pipelines)]), "--wide")
    assert row(result.output, "read-text")[4:] == ["3", "1", "4", "2", "100.0"]
    assert "read-text last error: detect: too late" in result.output
    assert "find-objects reason: there is no model 'yolo'" in result.output


def test_a_connector_with_all_its_messages_accounted_for() -> None:
    connector: Json = {
        "state": "backing_off",
        "last_error": "cannot reach the broker",
        "reconnects": 2,
        "counts": {
            "total": tally(12, 6, 1, late=3, queue_full=2),
            "sources": {"a": tally(10, 5, 0, late=3, queue_full=2), "b": tally(2, 1, 1)},
        },
    }
    result = run(FakeServer([process("streams", connectors={"mqtt": connector})]), "--wide")
    assert row(result.output, "mqtt") == [
        "mqtt", "in", "streams", "backing_off", "12", "6", "0", "5", "1",
        "late", "3,", "queue_full", "2",
    ]  # fmt: skip
    assert row(result.output, "b") == ["b", "2", "1", "0", "0", "1"]
    assert "mqtt last error: cannot reach the broker" in result.output


def test_only_columns_that_say_something_are_shown_and_explained() -> None:
    idle = process(models={"digits": model(succeeded=3, runs=3, rows=3)})
    result = run(FakeServer([idle]))
    assert row(result.output, "digits") == ["digits", "ready", "gateway", "3", "0", "0.0"]
    for spare in ("replica", "shed", "expired", "rows/run", "queue ms"):
        assert spare not in result.output
    assert "run ms mean time of one run of the model" in result.output
    late = run(FakeServer([process(models={"digits": model(expired=2)})]))
    assert "expired" in late.output
    assert "expired whose deadline passed while they waited" in late.output


def test_replicas_are_told_apart_where_there_are_several() -> None:
    names = ("one", "two")
    pair: list[JsonValue] = [process("ocr", name, models={"ocr": model()}) for name in names]
    assert "replica" in run(FakeServer(pair)).output


def test_replicas_of_one_model_stand_side_by_side() -> None:
    processes: list[JsonValue] = [
        process("ocr", "one", models={"ocr": model(succeeded=1)}),
        process("gateway", "two", models={"digits": model()}),
        process("ocr", "three", models={"ocr": model(succeeded=2)}),
    ]
    lines = run(FakeServer(processes)).output.splitlines()
    names = [line.split()[0] for line in lines if line.split()[1:2] == ["ready"]]
    assert names == ["digits", "ocr", "ocr"]


def test_an_empty_server_says_none() -> None:
    result = run(FakeServer())
    assert result.exit_code == 0
    assert result.output.count("none") == 3


def test_json_is_what_the_server_says() -> None:
    result = run(FakeServer([process()]), "--json")
    assert json.loads(result.output) == {"version": "0", "processes": [process()]}


def test_a_server_that_is_away_is_one_line_and_says_how_to_start_one() -> None:
    result = run(FakeServer(away=True), "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "manta: no server answers at http://127.0.0.1:9; start one with: manta run\n"
    )


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b'{"detail": "Not Found"}'])
def test_something_else_at_that_address_is_named_as_such(answer: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, content=answer))
    outside = Outside(connect=lambda url: Server(url, transport))
    result = TERMINAL.invoke(cli, ["status"], obj=outside)
    assert result.exit_code == 1
    assert "HTTP 404: is that a Manta server?" in result.stderr


def test_an_address_without_a_scheme_is_refused() -> None:
    result = TERMINAL.invoke(cli, ["status", "--url", "127.0.0.1:8000"])
    assert result.exit_code == 1
    assert "'127.0.0.1:8000' is no address of a server" in result.stderr


def watching(server: FakeServer, changes: Sequence[Callable[[], None]]) -> Outside:
    """Two seconds pass between looks, in each of which one change happens; then Ctrl-C."""
    pending = iter(changes)
    now = 0.0

    def sleep(_: float) -> None:
        nonlocal now
        now += 2.0
        change = next(pending, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    return replace(server.outside(), sleep=sleep, monotonic=lambda: now)


def test_watch_shows_rates_per_second() -> None:
    server = FakeServer([process(models={"digits": model(succeeded=10)})])

    def later() -> None:
        server.processes = [process(models={"digits": model(succeeded=25)})]

    result = run(server, "--watch", "--wide", outside=watching(server, [later]))
    assert result.exit_code == 0
    shown = [line.split() for line in result.output.splitlines() if "digits" in line]
    assert [(words[4], words[8]) for words in shown] == [("10", "-"), ("25", "7.5")]


def test_watch_gives_no_rate_for_a_process_that_started_again() -> None:
    server = FakeServer([process(models={"digits": model(succeeded=10)})])

    def restarted() -> None:
        server.processes = [process(models={"digits": model(succeeded=4)})]

    result = run(server, "--watch", "--wide", outside=watching(server, [restarted]))
    shown = [line.split() for line in result.output.splitlines() if "digits" in line]
    assert [words[8] for words in shown] == ["-", "-"]


def test_watch_survives_the_server_going_and_coming_back() -> None:
    server = FakeServer([process(models={"digits": model()})])

    def leave() -> None:
        server.away = True

    def come() -> None:
        server.away = False

    def nothing() -> None: ...

    result = run(server, "--watch", "--wide", outside=watching(server, [leave, nothing, come]))
    assert result.exit_code == 0
    away = [line for line in result.output.splitlines() if line.startswith("away for")]
    assert [line.split(":")[0] for line in away] == ["away for 0 s", "away for 2 s"]
    # The last state stays in view meanwhile.
    assert result.output.count("abcd1234") == 4


def test_watch_as_json_is_one_document_a_line() -> None:
    server = FakeServer([process()])

    def leave() -> None:
        server.away = True

    result = run(server, "--watch", "--json", outside=watching(server, [leave]))
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == ["0"]
    assert "no server answers" in result.stderr
