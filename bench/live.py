"""Commands on a live API (the demo, served on this machine) as a multiple of one round trip to it."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from bench.measure import Row, ms, processes, python, seconds

COMMANDS = {
    "live describe pod": ("describe", "pod", "deploy/productpage-v1", "-n", "classic"),
    "live trace": ("trace", "reviews:9080", "--from", "deploy/productpage-v1", "-n", "classic"),
}
SERVE = """
from meshctl.sources.serve import SnapshotServer
from meshctl.sources.snapshot import open_demo
server = SnapshotServer(open_demo())
print(server.url, flush=True)
server.serve_forever()
"""


def rows() -> list[Row]:
    """Wall time of each command, of the same command on the recording itself, and of a round trip."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            return _measured(server.stdout.readline().strip())
        finally:
            server.terminate()


def _measured(url: str) -> list[Row]:
    trip = seconds(lambda: _get(f"{url}/api/v1/namespaces/classic/pods"), rounds=20)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(url)))
        commands = [python("-m", "meshctl", "--kubeconfig", str(config), *words) for words in COMMANDS.values()]
        commands += [python("-m", "meshctl", "--demo", *words) for words in COMMANDS.values()]
        took = processes([*commands, python("-c", "import kubernetes.client")], rounds=3)
    live, recorded, client = took[: len(COMMANDS)], took[len(COMMANDS) : -1], took[-1]
    return [
        Row(
            name,
            ms(live[index]),
            f"recorded: {ms(recorded[index])}, import of the client: {ms(client)}, round trip: {ms(trip)}",
            (live[index] - recorded[index]) / trip,
            "extra time in round trips",
        )
        for index, name in enumerate(COMMANDS)
    ]


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        content: bytes = answer.read()
    return content


def _kubeconfig(url: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "c", "user": "u", "namespace": "classic"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
    }
