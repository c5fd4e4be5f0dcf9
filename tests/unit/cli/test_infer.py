"""`manta infer` as it is typed, against a server in memory."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import Result

from app.types import JsonValue
from cli.main import cli
from tests.fakes.server import TERMINAL, FakeServer, model_metadata

JPEG = b"\xff\xd8\xff\xe0 picture"


def run(server: FakeServer, *arguments: str | Path) -> Result:
    return TERMINAL.invoke(cli, ["infer", *map(str, arguments)], obj=server.outside())


def pipeline(result: JsonValue) -> FakeServer:
    return FakeServer(pipelines={"p": {"state": "ready"}}, results={"p": result})


def probabilities(*rows: list[float]) -> JsonValue:
    shape: list[JsonValue] = [len(rows), len(rows[0])]
    data: list[JsonValue] = [value for row in rows for value in row]
    return [{"name": "probabilities", "datatype": "FP32", "shape": shape, "data": data}]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(JPEG)
    return path


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps([0.5] * 64))
    return path


def test_text_lines_are_a_table_with_their_places(picture: Path) -> None:
    corners: JsonValue = [[12.0, 5.0], [100.0, 7.0], [99.0, 40.0], [11.0, 38.0]]
    server = pipeline([{"polygon": corners, "text": "PUMP [7]", "confidence": 0.9876}])
    result = run(server, "p", picture)
    assert result.exit_code == 0
    assert "│ PUMP [7] │      0.988 │ 11, 5 │ 100, 40 │" in result.output
    assert server.requests[-1].content == JPEG
    assert server.requests[-1].headers["content-type"] == "application/octet-stream"


def test_detections_are_a_table_with_tracks_where_there_are_any(picture: Path) -> None:
    found: JsonValue = [
        {"label": "person", "score": 0.91, "box": [1.0, 2.0, 30.4, 40.6], "track_id": 8}
    ]
    assert (
        "│ person │ 0.910 │   1, 2, 30, 41 │     8 │" in run(pipeline(found), "p", picture).output
    )


def test_class_scores_are_a_table(numbers: Path) -> None:
    server = pipeline([{"label": "stuffy", "score": 0.75}])
    assert "│ stuffy │      0.7500 │" in run(server, "p", numbers).output
    assert server.requests[-1].headers["content-type"] == "application/json"


def test_nothing_found_is_said_in_words(picture: Path) -> None:
    assert run(pipeline([]), "p", picture).output == "nothing was found\n"


def test_any_other_result_is_json(picture: Path) -> None:
    assert json.loads(run(pipeline({"mean": [1.5]}), "p", picture).output) == {"mean": [1.5]}


def test_json_is_the_whole_answer(picture: Path) -> None:
    result = run(pipeline([]), "p", picture, "--json")
    assert json.loads(result.output) == {"id": "1", "pipeline": "p", "result": []}


def test_an_annotated_picture_is_saved(picture: Path, tmp_path: Path) -> None:
    saved = tmp_path / "out.jpg"
    server = pipeline([])
    result = run(server, "p", picture, "--annotate", saved)
    assert result.exit_code == 0
    assert saved.read_bytes() == b"\xff\xd8\xff a picture"
    # One run only: the pipeline's agents act on each.
    assert [request.method for request in server.requests].count("POST") == 1


def test_a_model_is_asked_in_its_own_shape_and_type(numbers: Path) -> None:
    server = FakeServer(models={"digits": model_metadata()}, outputs=probabilities([0.1, 0.7, 0.2]))
    result = run(server, "digits", numbers)
    assert result.exit_code == 0
    assert server.sent == {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]
    }
    table = [line.split("│")[1].split() for line in result.output.splitlines() if "│" in line]
    assert table == [["class", "1"], ["class", "2"], ["class", "0"]]


def test_classes_have_names_where_the_model_has(numbers: Path) -> None:
    labels: dict[str, JsonValue] = {"probabilities": ["cat", "dog", "eel"]}
    server = FakeServer(
        models={"m": model_metadata("m", labels=labels)},
        outputs=probabilities([0.1, 0.7, 0.2], [1.0, 0.0, 0.0]),
    )
    output = run(server, "m", numbers).output
    assert [word for word in output.split() if word in ("cat", "dog", "eel")] == [
        *("dog", "eel", "cat"),
        *("cat", "eel", "dog"),
    ]
    assert "row 1" in output


def test_other_outputs_show_shape_and_first_values(numbers: Path) -> None:
    values: list[JsonValue] = [1.25, None, *([2.0] * 8)]
    outputs: JsonValue = [
        {"name": "y", "datatype": "FP32", "shape": [1, 10], "data": values},
        {"name": "n", "datatype": "INT64", "shape": [1], "data": [3]},
        {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["hi"]},
    ]
    server = FakeServer(models={"m": model_metadata("m")}, outputs=outputs)
    assert run(server, "m", numbers).output.splitlines() == [
        "y  FP32 [1, 10]: 1.25, nan, 2, 2, 2, 2, 2, 2, ...",
        "n  INT64 [1]: 3",
        "t  BYTES [1]: hi",
    ]


def test_a_whole_request_goes_as_it_is(tmp_path: Path) -> None:
    request: JsonValue = {"id": "7", "inputs": [{"name": "anything"}]}
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request))
    server = FakeServer(models={"m": model_metadata("m")}, outputs=probabilities([0.5, 0.5]))
    assert run(server, "m", path).exit_code == 0
    assert server.sent == request


def test_an_npy_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "batch.npy"
    np.save(path, np.zeros((3, 1, 8, 8), np.uint8))
    server = FakeServer(models={"m": model_metadata("m")}, outputs=probabilities([0.5, 0.5]))
    assert run(server, "m", path).exit_code == 0
    [tensor] = json.loads(server.requests[-1].content)["inputs"]
    assert tensor["shape"] == [3, 1, 8, 8]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jpg", JPEG, "takes tensors: give it a .json or .npy file"),
        ("x.json", b"[1, 2", "is not JSON"),
        ("x.json", b"{}", 'has no "inputs"'),
        ("x.json", b"[[1], [1, 2]]", "the rows differ in length"),
        ("x.json", b"[1, null]", "holds neither numbers nor text alone"),
        ("x.json", b"[1, 2, 3]", "input 'image' takes shape [-1, 1, 8, 8]; the file holds [3]"),
        ("x.npy", b"no array", "is no .npy file that can be read"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    result = run(FakeServer(models={"m": model_metadata("m")}), "m", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_name_that_nobody_has_lists_those_there_are(picture: Path) -> None:
    server = FakeServer(processes=[{"models": {"digits": {}}}], pipelines={"read-text": {}})
    result = run(server, "dogs", picture)
    assert result.exit_code == 1
    assert result.stderr == (
        "manta: the server has no pipeline or model 'dogs'; pipelines: read-text; models: digits\n"
    )


def test_the_servers_own_words_are_shown(picture: Path) -> None:
    server = pipeline([])
    server.refusal = httpx.Response(503, json={"error": "the queue is full"})
    result = run(server, "p", picture)
    assert result.exit_code == 1
    assert result.stderr == "manta: the queue is full (HTTP 503)\n"


def test_a_server_that_is_away(picture: Path) -> None:
    result = run(FakeServer(away=True), "p", picture)
    assert result.exit_code == 1
    assert "manta run" in result.stderr


def test_annotate_is_for_pipelines(numbers: Path, tmp_path: Path) -> None:
    server = FakeServer(models={"m": model_metadata("m")})
    result = run(server, "m", numbers, "--annotate", tmp_path / "x.jpg")
    assert result.exit_code == 1
    assert "'m' is a model: --annotate is for pipelines" in result.stderr


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "is empty" in run(pipeline([]), "p", path).stderr
