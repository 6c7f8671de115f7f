"""All pods of a cluster, each read when it is asked for: a path leads through few of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod, pod


@dataclass(frozen=True, slots=True)
class Head:
    """What a pod is found by: the same fields as those of `Pod`, without reading the rest."""

    name: str
    namespace: str
    node: str
    phase: str
    ip: str
    ips: tuple[str, ...]
    host_ip: str
    host_network: bool


class PodList(Sequence[Pod]):
    """Raw pods as a sequence of `Pod`; `heads` has the same order and costs little."""

    __slots__ = ("_made", "_raw", "_source", "heads")

    def __init__(self, items: Sequence[Mapping[str, Any]], source: str) -> None:
        self._raw = items
        self._source = source
        self._made: list[Pod | None] = [None] * len(items)
        self.heads: tuple[Head, ...] = tuple(map(_head, items))

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> Pod: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pod]: ...
    def __getitem__(self, index: int | slice) -> Pod | Sequence[Pod]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        made = self._made[index]
        if made is None:
            made = self._made[index] = pod(self._raw[index], self._source, f"items[{index % len(self)}]")
        return made

    def __iter__(self) -> Iterator[Pod]:
        return (self[index] for index in range(len(self)))


def heads(pods: Sequence[Pod]) -> Sequence[Head | Pod]:
    """The heads of pods, in their order: a pod that is read already is its own."""
    return pods.heads if isinstance(pods, PodList) else pods


def _head(raw: Mapping[str, Any]) -> Head:
    meta, spec, status = (_mapping(raw.get(key)) for key in ("metadata", "spec", "status"))
    listed = status.get("podIPs")
    ips = tuple(_text(_mapping(one), "ip") for one in listed) if isinstance(listed, list) else ()
    return Head(
        _text(meta, "name"),
        _text(meta, "namespace"),
        _text(spec, "nodeName"),
        _text(status, "phase"),
        _text(status, "podIP"),
        tuple(ip for ip in ips if ip),
        _text(status, "hostIP"),
        spec.get("hostNetwork") is True,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""
