"""Every caller to every service of a made snapshot: 200 by 200."""

import json
import tempfile
import time
from pathlib import Path

from bench.measure import Row, peak_mb, workers_mb
from bench.snapshots import SPACE, make
from meshctl.gather.matrix import matrix
from meshctl.sources.snapshot import open_snapshot

SIZE = 200


def rows() -> list[Row]:
    """Time and peak memory of the whole matrix, reading the files included."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "snapshot"
        make(root, SIZE)
        size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
        start = time.perf_counter()
        found = matrix(open_snapshot(str(root)), SPACE)
        took = time.perf_counter() - start
        peak = peak_mb() + workers_mb()
        start = time.perf_counter()
        for file in root.rglob("config_dump.json"):
            json.loads(file.read_bytes())
        base = time.perf_counter() - start
    cells = len(found.rows) * len(found.columns)
    what = f"trace --all: {len(found.rows)} callers x {len(found.columns)} services ({size / 1e6:.0f} MB)"
    return [
        Row(
            what,
            f"{took:.1f} s ({took / max(cells, 1) * 1e6:.0f} us a cell)",
            f"json.loads of the dumps: {base:.1f} s",
            took / base,
            "under 60 s",
        ),
        Row("trace --all: peak memory, workers and all", f"{peak:.0f} MB", target="under 1,000 MB"),
    ]
