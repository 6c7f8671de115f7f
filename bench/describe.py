"""Describing 1,000 pods of a made snapshot, in process, after the files are read."""

import gc
import json
import tempfile
import time
from pathlib import Path

from bench.measure import Row, seconds
from bench.snapshots import make
from meshctl.checks import registry
from meshctl.checks.evidence import Evidence
from meshctl.gather import describe as gathering
from meshctl.gather.pods import many
from meshctl.gather.scope import Scope
from meshctl.gather.surroundings import Surroundings
from meshctl.injection.description import describe
from meshctl.sources import kinds
from meshctl.sources.snapshot import open_snapshot
from meshctl.views import pods as views

PODS = 1000


def rows() -> list[Row]:
    """Milliseconds a pod from raw object to document, beside json.loads of the pods' objects."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "snapshot"
        make(root, PODS, parts=False)
        text = (root / "resources" / "pods.json").read_bytes()
        base = seconds(lambda: json.loads(text), rounds=3) / PODS
        world = open_snapshot(str(root))
        around = Surroundings(world)
        for kind in (kinds.PODS, kinds.SERVICES, kinds.ENDPOINT_SLICES, kinds.REPLICA_SETS, kinds.DEPLOYMENTS):
            world.objects(kind)
        gc.collect()
        gc.disable()  # as the commands do: nothing here is cyclic
        start = time.perf_counter()
        pods = [pod for pod in many(world, None, Scope()) if pod.name.startswith("shop")]
        found = [describe(gathering.subject(around, pod)) for pod in pods]
        described = (time.perf_counter() - start) / len(pods)
        start = time.perf_counter()
        judged = tuple((evidence, registry.run(evidence)) for evidence in (Evidence(description=one) for one in found))
        views.document_of(judged)
        shown = (time.perf_counter() - start) / len(pods)
        gc.enable()
    baseline = f"json.loads: {base * 1e3:.3f} ms a pod"
    return [
        Row(
            f"describe {len(pods):,} pods", f"{described * 1e3:.2f} ms a pod", baseline, described / base, "under 2 ms"
        ),
        Row("  and judge them, and make the documents", f"{shown * 1e3:.2f} ms a pod", baseline, shown / base),
    ]
