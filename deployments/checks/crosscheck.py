"""What must hold between the applications, the pipelines they run and the models there are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.config.yaml_file import error_at
from app.errors import ConfigurationError
from app.pipeline.checks import Problem, listed
from app.pipeline.graph import Graph
from deployments.args import HostArgs
from deployments.checks.flows import Flows, no_model, uses_of
from deployments.checks.serve_config import (
    Application,
    GatewayApplication,
    ModelApplication,
    ServeConfig,
    StreamsApplication,
)

Homes = dict[str, list[str]]

DEPLOYMENTS: Mapping[type[Application], str] = {
    ModelApplication: "Model",
    GatewayApplication: "Gateway",
    StreamsApplication: "Streams",
}
"""What the builders in this package call their one deployment."""


@dataclass
class CrossCheck:
    """Checks one serve_config.yaml; what it found is there once `run` is over.

    `flows` are the files that its applications name, by the path they name; `models` are the
    names in the repositories. `homes` says in which applications each model, pipeline and
    connector is.
    """

    path: Path
    config: ServeConfig
    flows: Mapping[Path, Flows]
    models: Sequence[str]
    problems: list[ConfigurationError] = field(default_factory=list)
    missing: list[ConfigurationError] = field(default_factory=list)
    model_homes: Homes = field(default_factory=dict)
    pipeline_homes: Homes = field(default_factory=dict)
    connector_homes: Homes = field(default_factory=dict)

    def run(self) -> None:
        for index, application in enumerate(self.config.applications):
            if type(application) in DEPLOYMENTS:
                self._note(index, _wrong_deployments(application))
            if isinstance(application, ModelApplication):
                self._note(index, _wrong_address(application))
                self._find_model(index, ("args", "model"), application.args.model)
                _add(self.model_homes, [application.args.model], application.name)
            elif isinstance(application, GatewayApplication | StreamsApplication):
                self._host(index, application)

    def _host(self, index: int, application: GatewayApplication | StreamsApplication) -> None:
        args = application.args
        for place, name in enumerate(args.inline):
            self._find_model(index, ("args", "inline", place), name)
        _add(self.model_homes, args.inline, application.name)
        self._note(index, self._wrong_remotes(args))
        flows = self.flows.get(args.pipelines_file)
        if flows is None:
            return
        known = [pipeline.id for pipeline in flows.config.pipelines]
        self._note(index, _unknown(args.pipelines, known, "pipeline", "pipelines"))
        if isinstance(application, GatewayApplication):
            self._note(index, self._wrong_streams(application))
        else:
            self._note(index, self._wrong_connectors(application, flows))
        graphs = flows.with_fallbacks(args.pipelines)
        _add(self.pipeline_homes, [graph.pipeline.id for graph in graphs], application.name)
        for graph in graphs:
            self._find_models_of(graph, index, application.name, args, flows)

    def _find_models_of(
        self, graph: Graph, index: int, application: str, args: HostArgs, flows: Flows
    ) -> None:
        for use in uses_of(graph):
            if use.model in (*args.inline, *args.remote):
                continue
            if use.model not in self.models:
                self.missing.append(flows.error(use, no_model(use)))
                continue
            reason = (
                f"pipeline {use.pipeline!r} runs in {application!r} and uses model {use.model!r},"
                " which is neither under inline nor under remote"
            )
            self._note(index, [Problem(("args",), reason)])

    def _wrong_remotes(self, args: HostArgs) -> Iterator[Problem]:
        applications = [
            each.name for each in self.config.applications if isinstance(each, ModelApplication)
        ]
        for place, name in enumerate(args.remote):
            if name in args.inline:
                reason = f"model {name!r} is under inline already"
                yield Problem(("args", "remote", place), reason)
            elif name not in applications:
                reason = (
                    f"model {name!r} is no application of this file;"
                    f" those that are: {listed(applications)}"
                )
                yield Problem(("args", "remote", place), reason)

    def _wrong_streams(self, application: GatewayApplication) -> Iterator[Problem]:
        streams = [
            each.name for each in self.config.applications if isinstance(each, StreamsApplication)
        ]
        for place, name in enumerate(application.args.streams):
            if name not in streams:
                reason = (
                    f"{name!r} is no application with connectors; those that are: {listed(streams)}"
                )
                yield Problem(("args", "streams", place), reason)

    def _wrong_connectors(self, application: StreamsApplication, flows: Flows) -> Iterator[Problem]:
        args = application.args
        known = flows.connectors
        yield from _unknown(args.connectors, known, "connector", "connectors")
        here = [name for name in args.connectors or known if name in known]
        _add(self.connector_homes, here, application.name)
        for name in here:
            for route in known[name].routes():
                if route not in args.pipelines:
                    reason = (
                        f"connector {name!r} leads to pipeline {route!r}, which does not run here:"
                        f" all its messages would be dropped"
                    )
                    yield Problem(("args", "pipelines"), reason)

    def _find_model(self, index: int, where: tuple[str | int, ...], name: str) -> None:
        if name not in self.models:
            reason = f"model {name!r} is in no repository; there are: {listed(self.models)}"
            self.missing.append(error_at(self.path, ("applications", index, *where), reason))

    def _note(self, index: int, problems: Iterable[Problem]) -> None:
        for where, reason in problems:
            self.problems.append(error_at(self.path, ("applications", index, *where), reason))


def _wrong_deployments(application: Application) -> Iterator[Problem]:
    known = DEPLOYMENTS[type(application)]
    for place, deployment in enumerate(application.deployments):
        if deployment.name != known:
            reason = f"this application has no deployment {deployment.name!r}; it has: {known}"
            yield Problem(("deployments", place, "name"), reason)


def _wrong_address(application: ModelApplication) -> Iterator[Problem]:
    model = application.args.model
    if application.name != model:
        reason = f"must be {model!r}, as its model is called: others look for it under that name"
        yield Problem(("name",), reason)
    prefix = f"/v2/models/{model}"
    if application.route_prefix not in (prefix, None):
        yield Problem(("route_prefix",), f"must be {prefix}, where the model's routes are")


def _unknown(
    names: Sequence[str], known: Iterable[str], what: str, field_name: str
) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if name not in known:
            reason = f"no {what} is called {name!r}; known are: {listed(known)}"
            yield Problem(("args", field_name, place), reason)


def _add(homes: Homes, names: Iterable[str], application: str) -> None:
    for name in names:
        homes.setdefault(name, []).append(application)
