"""What Istio writes into Envoy's metadata: the object behind a resource, the workload behind an endpoint."""

from meshctl.envoy.model.basics import IstioConfig
from meshctl.envoy.reading import Json


def filter_metadata(message: Json, name: str) -> Json:
    """One filter's part of a ``Metadata`` message."""
    return message.below("filter_metadata").below(name)


def istio_config(metadata: Json) -> IstioConfig | None:
    """The object that a resource was made from.

    Source: pilot/pkg/networking/util, ``BuildConfigInfoMetadata``: the path is
    ``/apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME``, the same since before 1.12.
    """
    path = filter_metadata(metadata, "istio").text("config")
    match path.split("/"):
        case ["", "apis", _, _, "namespaces", namespace, kind, name]:
            return IstioConfig(kind, namespace, name, path)
        case _:
            return None
