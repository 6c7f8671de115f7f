"""Run the benchmarks that are named, else all, each in a process of its own so that its peak memory is its own."""

import argparse
import importlib
import json
import subprocess
import sys
from dataclasses import asdict

from bench.measure import Row, table

BENCHES = ("startup", "rules", "proxy", "describe", "live", "matrix")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", action="store_true", help="one row a line, for programs")
    given = parser.parse_args()
    names = given.names or BENCHES
    rows = importlib.import_module(f"bench.{names[0]}").rows() if len(names) == 1 else _each(names)
    print("\n".join(json.dumps(asdict(row)) for row in rows) if given.json else table(rows))


def _each(names: tuple[str, ...]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "bench", name, "--json"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            rows.append(Row(name, f"failed ({done.returncode})"))
        rows += [Row(**json.loads(line)) for line in done.stdout.splitlines()]
    return rows


if __name__ == "__main__":
    main()
