"""Compile a slice of the CRI into one Python module: needs `pip install grpcio-tools`, only when the slice changes.

    python tools/cri/make_stubs.py tools/cri/cri_read.proto meshctl/sources/cri_stubs.py
    python tools/cri/make_stubs.py tests/node/cri_write.proto tests/node/cri_write_stubs.py

protoc's own output demands the very protobuf release that made it, and registers `runtime.v1` for the whole process;
what is written here is the compiled descriptor in a pool of its own, which every protobuf since 4.22 reads.
"""

import base64
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

TEMPLATE = '''"""Messages and methods of Kubernetes' container runtime interface (runtime.v1): generated, do not edit.

Written by tools/cri/make_stubs.py from {source}.
"""

import base64
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_DESCRIPTORS = base64.b64decode("""
{encoded}
""")

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS).file:
    _pool.Add(_file)


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"runtime.v1.{{name}}"))


class RuntimeService:
    """The service's methods as callables: ``RuntimeService(channel).Version(request, timeout=2)``."""

    def __init__(self, channel: Any) -> None:
        for method in _pool.FindServiceByName("runtime.v1.RuntimeService").methods:
            request = message_factory.GetMessageClass(method.input_type)
            response = message_factory.GetMessageClass(method.output_type)
            call = channel.unary_unary(
                f"/runtime.v1.RuntimeService/{{method.name}}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            setattr(self, method.name, call)


__all__ = ["RuntimeService", "grpc", "message"]
'''


def main(source: str, target: str) -> None:
    """Compile `source` and write `target`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.bin"
        place = Path(source)
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{place.parent}", f"--descriptor_set_out={out}"]
        subprocess.run([*command, place.name], check=True)
        encoded = "\n".join(textwrap.wrap(base64.b64encode(out.read_bytes()).decode(), 110))
    Path(target).write_text(TEMPLATE.format(source=source, encoded=encoded), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
