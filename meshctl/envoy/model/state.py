"""What a proxy is, and what it holds besides its traffic configuration."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from meshctl.envoy.model.basics import Failure, State
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is known of a secret besides its content; `anchors`: digests of what it trusts, none if not recorded."""

    name: str
    kind: Literal["certificate", "trust", "key", "unknown"]
    state: State
    updated: str = ""
    version: str = ""
    failure: Failure | None = None
    anchors: tuple[str, ...] = ()
    origin: Origin

    @property
    def roots(self) -> int:
        """How many certificates it trusts, 0 if not recorded."""
        return len(self.anchors)


@dataclass(frozen=True, slots=True)
class Build:
    """The Envoy that runs: `version` is major, minor and patch; `released` is false between releases (Istio's are)."""

    version: tuple[int, int, int]
    released: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """What the proxy was started with: who it says it is."""

    node_id: str = ""
    cluster: str = ""
    proxy_type: str = ""
    ips: tuple[str, ...] = ()
    namespace: str = ""
    istio_version: str = ""
    envoy_version: str = ""
    trust_domain: str = ""
    interception_mode: str = ""
    service_account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    admin_port: int | None = None
    clusters: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    origin: Origin | None = None
