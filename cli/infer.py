"""`manta infer`: one picture or document through a pipeline, or one request to a model."""

from pathlib import Path

import orjson
from rich.console import Console, RenderableType

from app.errors import InvalidInput, ModelNotFound
from cli.answers import model_answer, pipeline_answer
from cli.server import Json, Server, mapping
from cli.tensors import request_of


def infer(
    server: Server,
    name: str,
    file: Path,
    console: Console,
    *,
    annotate: Path | None = None,
    as_json: bool = False,
) -> None:
    """Ask the server what `name` is, send the file and show the answer."""
    if name in server.pipelines():
        media_type = "application/json" if file.suffix == ".json" else "application/octet-stream"
        content = _read(file)
        if annotate is not None:
            annotate.write_bytes(server.annotate(name, content))
            console.print(f"{annotate} shows what {name} found in {file}")
            return
        answer = server.run(name, content, media_type)
        _show(answer, pipeline_answer(answer), as_json, console)
        return
    try:
        metadata = server.model(name)
    except ModelNotFound as error:
        raise ModelNotFound(_unknown(server, name)) from error
    if annotate is not None:
        raise InvalidInput(f"{name!r} is a model: --annotate is for pipelines that take pictures")
    answer = server.infer(name, request_of(file, metadata))
    _show(answer, model_answer(answer, metadata), as_json, console)


def _read(file: Path) -> bytes:
    content = file.read_bytes()
    if not content:
        raise InvalidInput(f"{file} is empty")
    return content


def _show(answer: Json, readable: RenderableType, as_json: bool, console: Console) -> None:
    if as_json:
        console.out(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode(), highlight=False)
    else:
        console.print(readable)


def _unknown(server: Server, name: str) -> str:
    pipelines: set[str] = set()
    models: set[str] = set()
    processes = server.status().get("processes")
    for process in processes if isinstance(processes, list) else []:
        models |= set(mapping(mapping(process).get("models")))
    pipelines |= set(server.pipelines())
    return (
        f"the server has no pipeline or model {name!r};"
        f" pipelines: {', '.join(sorted(pipelines)) or 'none'};"
        f" models: {', '.join(sorted(models)) or 'none'}"
    )
