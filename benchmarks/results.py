"""What a comparison measured, by workload, server and pass, and the ratios that follow from it."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.bare import Bare
from benchmarks.comparison import Measured, Turn
from benchmarks.load import LoadResult
from benchmarks.servers import SERVERS
from benchmarks.workloads import WORKLOADS, Part, Workload

OURS = "manta"
OUR_DIRECT_DOOR = "manta-direct"


@dataclass(frozen=True)
class Comparison:
    """`measured[workload][server]` has one entry a pass; so has `bare[model]`."""

    measured: Mapping[Workload, Mapping[str, Mapping[int, Measured]]]
    bare: Mapping[str, Mapping[int, Bare]]
    versions: Mapping[str, Mapping[str, str]]
    missing: Mapping[str, str]
    background: tuple[float, ...]
    passes: int = field(default=1)

    @classmethod
    def of(cls, turns: Iterable[Turn], bare: Iterable[Bare] = ()) -> "Comparison":
        measured: dict[Workload, dict[str, dict[int, Measured]]] = {}
        by_title = {workload.title: workload for workload in WORKLOADS}
        turns = list(turns)
        for turn in turns:
            for one in turn.measured:
                of_server = measured.setdefault(by_title[one.workload], {})
                of_server.setdefault(turn.server, {})[turn.index] = one
        alone: dict[str, dict[int, Bare]] = {}
        for each in bare:
            alone.setdefault(each.model, {})[each.index] = each
        missing = {turn.server: turn.skipped for turn in turns if turn.skipped}
        for turn in turns:
            for title, reason in turn.missing.items():
                missing[f"{turn.server}, {title}"] = reason
        return cls(
            {workload: measured[workload] for workload in WORKLOADS if workload in measured},
            alone,
            {turn.server: turn.versions for turn in turns if turn.versions},
            missing,
            tuple(turn.background for turn in turns),
            1 + max((turn.index for turn in turns), default=0),
        )

    def workloads(self, part: Part) -> list[Workload]:
        return [workload for workload in self.measured if workload.part == part]

    def products(self, part: Part) -> dict[str, list[str]]:
        """The ways in which each product was measured in this part."""
        seen = {name for each in self.workloads(part) for name in self.measured[each]}
        products: dict[str, list[str]] = {}
        for server in SERVERS:
            if server.name in seen:
                products.setdefault(server.product, []).append(server.name)
        return products

    def best(self, workload: Workload, names: Sequence[str]) -> str | None:
        """Of several ways to run one product the one with the highest median rate."""
        by_server = self.measured[workload]
        present = [name for name in names if name in by_server]

        def median_rate(name: str) -> float:
            return statistics.median(each.load.rate for each in by_server[name].values())

        return max(present, key=median_rate, default=None)

    def ratios(
        self,
        workload: Workload,
        ours: str,
        theirs: str,
        of: Callable[[LoadResult], float],
    ) -> list[float]:
        """Ours divided by theirs in every pass in which both answered."""
        by_server = self.measured.get(workload, {})
        pairs = [
            (mine.load, by_server[theirs][index].load)
            for index, mine in by_server.get(ours, {}).items()
            if index in by_server.get(theirs, {})
        ]
        return [of(mine) / of(other) for mine, other in pairs if other.rate and mine.rate]

    def shares_of_bare(self, workload: Workload, ours: str) -> list[float]:
        """Our rate divided by ONNX Runtime's beside a load generator, in every pass."""
        loads = self.measured.get(workload, {}).get(ours, {})
        bare = self.bare.get(workload.model, {})
        return [
            loads[index].load.rate / bare[index].beside.rate for index in loads if index in bare
        ]

    def peers(self, part: Part) -> dict[str, list[str]]:
        """The products that are not ours."""
        products = self.products(part).items()
        return {name: ways for name, ways in products if not name.startswith("Manta")}


def rate(load: LoadResult) -> float:
    return load.rate


def p50(load: LoadResult) -> float:
    return load.p50
