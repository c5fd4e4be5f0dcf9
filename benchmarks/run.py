"""Measure this machine and write benchmarks/RESULTS.md.

python -m benchmarks.run [--only comparison overload product] [--servers NAME...] [--quick]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.comparison import WORKLOADS, compare
from benchmarks.load import has_wrk
from benchmarks.memory import bundled_questions, measure_footprint
from benchmarks.models import build_repository
from benchmarks.overload import measure_overload
from benchmarks.report import comparison_part, overload_part, product_part, write_results
from benchmarks.servers import SERVERS

PARTS = ("comparison", "overload", "product")


def main() -> None:
    arguments = _arguments()
    if not has_wrk():
        raise SystemExit("the load generator wrk is missing: install the package `wrk`")
    passes = arguments.passes or (1 if arguments.quick else 3)
    seconds = arguments.seconds or (2.0 if arguments.quick else 5.0)
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        models = build_repository(Path(directory))
        if "comparison" in arguments.only:
            servers = [server for server in SERVERS if server.name in arguments.servers]
            result = compare(servers, WORKLOADS, models, passes, seconds)
            write_results({"comparison": comparison_part(result, passes, seconds)})
        if "overload" in arguments.only:
            print("overload ...", flush=True)
            overload = measure_overload(models, seconds)
            write_results({"overload": overload_part(overload, seconds)})
    if "product" in arguments.only:
        questions = bundled_questions()
        footprints = []
        for index in range(passes):
            print(f"start {index + 1} of {passes} of the product ...", flush=True)
            footprints.append(measure_footprint(questions))
        write_results({"product": product_part(footprints)})


def _arguments() -> argparse.Namespace:
    names = [server.name for server in SERVERS]
    parser = argparse.ArgumentParser(description="Measure Manta beside other servers.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument("--servers", nargs="+", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="one short pass, to see it work")
    parser.add_argument("--passes", type=int, help="how often each server takes its turn (3)")
    parser.add_argument("--seconds", type=float, help="length of each load (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
