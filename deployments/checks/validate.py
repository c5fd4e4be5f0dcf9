"""Checks the files of a site without starting anything: what runs where, what flows, what models.

Loads no model, connects to nothing and knows nothing of Ray.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.config.pipelines import PipelinesConfig
from app.config.report import Report, Table
from app.config.yaml_file import error_at, keys_of
from app.errors import ConfigurationError
from deployments.args import AppArgs, HostArgs, resolved
from deployments.checks.crosscheck import CrossCheck
from deployments.checks.flows import (
    Flows,
    connectors_table,
    load_flows,
    no_model,
    pipelines_table,
    uses_of,
)
from deployments.checks.limits import unequal_limits
from deployments.checks.ports import repeated_ports, taken_ports
from deployments.checks.recordings import absent_recordings
from deployments.checks.serve_config import OtherApplication, ServeConfig, load_serve_config
from deployments.checks.unmeant import unmeant
from deployments.checks.unseen import settings_without_effect
from deployments.repositories import from_environment, not_there, open_repository
from models.repository import config_pbtxt
from models.repository.located import runtime_of
from models.repository.model_yaml import FILE_NAME, ModelFile
from models.repository.repository import ModelRepository


def validate_file(path: Path, *, ports: bool = False) -> Report:
    """A serve config, a pipelines file, a model.yaml or a config.pbtxt; which one, its keys say.

    With `ports`, it is also wrong that somebody listens on a port of the serve config.
    """
    try:
        if path.name == config_pbtxt.FILE_NAME:
            return _validate_model(path)
        keys = set(keys_of(path))
        if "applications" in keys:
            return validate_site(path, ports=ports)
        graph = {"name", "nodes", "edges"}
        flowing = len(keys & {*PipelinesConfig.model_fields, *graph})
        if path.name == FILE_NAME or len(keys & set(ModelFile.model_fields)) > flowing:
            return _validate_model(path)
        if not flowing:
            reason = "is no serve config, no pipelines file and no model.yaml"
            return Report((ConfigurationError(reason, str(path)),))
        return _validate_pipelines(path)
    except ConfigurationError as error:
        return Report(error.parts or (error,))


def validate_site(path: Path, *, ports: bool = False) -> Report:
    """A serve config and everything that it names. Raises ConfigurationError if it is wrong."""
    config = load_serve_config(path)
    problems: list[ConfigurationError] = []
    repository = _repository(path, config, problems)
    problems += repository.validate()
    flows = _flows(path, config, problems)
    check = CrossCheck(path, config, flows, repository.names())
    check.run()
    problems += repeated_ports(path, config)
    if ports:
        problems += taken_ports(path, config)
    tables = (
        _models_table(repository, check.model_homes),
        pipelines_table(flows.values(), _joined(check.pipeline_homes)),
        connectors_table(flows.values(), _joined(check.connector_homes)),
    )
    warnings = [*unequal_limits(path, config, flows), *settings_without_effect(path, config)]
    for each in flows.values():
        warnings += [*absent_recordings(each), *unmeant(each)]
    return Report((*problems, *check.problems), tuple(check.missing), tables, tuple(warnings))


def _validate_pipelines(path: Path) -> Report:
    """A pipelines file alone: where it would run is not known, which models there are is."""
    flows = load_flows(path)
    known = open_repository(AppArgs()).names()
    missing = [
        flows.error(use, no_model(use))
        for graph in flows.graphs.values()
        for use in uses_of(graph)
        if use.model not in known
    ]
    tables = (pipelines_table([flows], {}), connectors_table([flows], {}))
    warnings = (*absent_recordings(flows), *unmeant(flows))
    shown = tuple(_without_homes(each) for each in tables)
    return Report(flows.problems, tuple(missing), shown, warnings)


def _validate_model(path: Path) -> Report:
    directory = path.resolve().parent
    repository = ModelRepository([directory.parent])
    problems = tuple(repository.validate(directory.name))
    table = _models_table(repository, {})
    rows = tuple(row for row in table.rows if row[0] == directory.name)
    return Report(problems, tables=(_without_homes(replace(table, rows=rows)),))


def _host_args(config: ServeConfig) -> Iterable[tuple[int, AppArgs]]:
    for index, application in enumerate(config.applications):
        if not isinstance(application, OtherApplication):
            yield index, application.args


def _repository(
    path: Path, config: ServeConfig, problems: list[ConfigurationError]
) -> ModelRepository:
    """Every repository that the environment or else an application names and that is there."""
    there: dict[Path, None] = {}
    if instead := from_environment():
        problems += [not_there(directory) for directory in instead if not directory.is_dir()]
        return ModelRepository(directory for directory in instead if directory.is_dir())
    for index, args in _host_args(config):
        for place, directory in enumerate(args.repositories):
            if resolved(directory).is_dir():
                there[resolved(directory)] = None
                continue
            where = ("applications", index, "args", "repositories", place)
            problems.append(error_at(path, where, f"there is no directory {resolved(directory)}"))
    return ModelRepository(there)


def _flows(
    path: Path, config: ServeConfig, problems: list[ConfigurationError]
) -> Mapping[Path, Flows]:
    """Every pipelines file that an application names, read once."""
    found: dict[Path, Flows] = {}
    tried: set[Path] = set()
    for index, args in _host_args(config):
        if not isinstance(args, HostArgs) or args.pipelines_file in tried:
            continue
        tried.add(args.pipelines_file)
        file = resolved(args.pipelines_file)
        if not file.is_file():
            where = ("applications", index, "args", "pipelines_file")
            problems.append(error_at(path, where, f"there is no file {file}"))
            continue
        try:
            found[args.pipelines_file] = load_flows(file)
        except ConfigurationError as error:
            problems += error.parts or (error,)
            continue
        problems += found[args.pipelines_file].problems
    return found


def _models_table(repository: ModelRepository, homes: Mapping[str, Sequence[str]]) -> Table:
    rows = []
    for name in repository.names():
        try:
            config = repository.config(name)
        except ConfigurationError:
            continue
        runtimes = dict.fromkeys(runtime_of(config, version) for version in config.versions)
        served = ", ".join(homes.get(name, ())) or "nowhere"
        rows.append((name, ", ".join(config.versions), ", ".join(runtimes), served))
    return Table("Models", ("model", "versions", "runtime", "runs in"), tuple(rows))


def _joined(homes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: ", ".join(applications) for name, applications in homes.items()}


def _without_homes(table: Table) -> Table:
    return replace(table, columns=table.columns[:-1], rows=tuple(row[:-1] for row in table.rows))
