"""A site to check: a serve config, a pipelines file and two models."""

from dataclasses import dataclass
from pathlib import Path

from app.config.report import Report
from app.errors import ConfigurationError
from deployments.checks.validate import validate_file

PIPELINES = """\
connectors:
  - {id: air, type: file, path: air.jsonl, pipeline: sense}
pipelines:
  - id: sense
    preprocess: env.vector_to_tensor
    model: air
    agents: [alarm]
  - id: look
    nodes:
      - {id: image, type: image.decode}
      - {id: ask, type: infer, params: {model: eye}}
    edges:
      - {from: image, to: ask}
agents:
  alarm: {type: threshold, metric: co2_ppm, threshold: 1000, dispatcher: log}
actions:
  log: {type: log}
"""


SERVE = """\
applications:
  - name: gateway
    route_prefix: /
    import_path: deployments.gateway:build
    args:
      repositories: [{zoo}]
      pipelines_file: {pipelines}
      inline: [air]
      remote: [eye]
      pipelines: [sense, look]
      streams: [flow]
    deployments:
      - name: Gateway
  - name: eye
    route_prefix: /v2/models/eye
    import_path: deployments.model:build
    args: {{repositories: [{zoo}], model: eye}}
  - name: flow
    route_prefix: null
    import_path: deployments.connector:build
    args:
      repositories: [{zoo}]
      pipelines_file: {pipelines}
      inline: [air]
      pipelines: [sense]
      connectors: [air]
"""


@dataclass
class Site:
    """A site in which everything fits, until something is written over."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("air", "eye"):
            self.model(name)
        self.pipelines.write_text(PIPELINES)
        (self.folder / "air.jsonl").touch()
        self.serve.write_text(SERVE.format(zoo=self.zoo, pipelines=self.pipelines))

    @property
    def zoo(self) -> Path:
        return self.folder / "zoo"

    @property
    def serve(self) -> Path:
        return self.folder / "serve.yaml"

    @property
    def pipelines(self) -> Path:
        return self.folder / "pipelines.yaml"

    def model(self, name: str, config: str = "") -> Path:
        """A model whose artefact is there, though it is empty; returns its model.yaml."""
        version = self.zoo / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / "model.onnx").touch()
        path = version.parent / "model.yaml"
        path.write_text(config)
        return path

    def with_serve(self, old: str, new: str) -> Report:
        return _validated(self.serve, old, new)

    def with_pipelines(self, old: str, new: str) -> Report:
        _rewrite(self.pipelines, old, new)
        return validate_file(self.serve)

    def lines(self, errors: tuple[ConfigurationError, ...]) -> list[str]:
        return [str(error).removeprefix(f"{self.folder}/") for error in errors]


def _rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} must stand once in {path.name}"
    path.write_text(text.replace(old, new))


def _validated(path: Path, old: str, new: str) -> Report:
    _rewrite(path, old, new)
    return validate_file(path)
