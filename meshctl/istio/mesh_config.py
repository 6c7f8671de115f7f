"""The mesh's own settings, from the ``mesh`` key of the ConfigMap ``istio`` (MeshConfig, 1.30)."""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio import locality
from meshctl.istio.locality import LocalitySetting
from meshctl.kube.fields import Fields
from meshctl.kube.selectors import Selector, selector
from meshctl.yaml_text import documents


@dataclass(frozen=True, slots=True)
class Retries:
    """What a retry policy says; `attempts` 0 is none."""

    attempts: int
    on: str = ""
    per_try_timeout: str = ""


@dataclass(frozen=True, slots=True)
class Exports:
    """To which namespaces what has no ``exportTo`` is visible: ``*`` all, ``.`` its own, ``~`` none.

    Source: ``initDefaultExportMaps``, ``initServiceRegistry``, ``initVirtualServices`` and ``setDestinationRules``,
    1.12 to 1.30: of the defaults only ``.`` and ``*`` are looked at.
    """

    services: str = "*"
    virtual_services: str = "*"
    destination_rules: str = "*"


@dataclass(frozen=True, slots=True)
class Ingresses:
    """Which Ingresses istiod takes up, and at which gateways: those with the label ``istio: SELECTOR``.

    Source: ``pilot/pkg/config/kube/ingress/conversion.go`` (shouldProcessIngressWithClass), 1.12 to 1.30.
    """

    mode: str = "STRICT"
    class_name: str = "istio"
    selector: str = "ingressgateway"


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What meshctl reads of MeshConfig, with Istio's defaults where nothing is written; so for `retries` None.

    `outbound_mode` is empty where it is not known. `trusted_proxies` is how many proxies before a gateway are believed
    in X-Forwarded-For (``gatewayTopology``). `discovery` are the selectors of the namespaces that istiod looks at, all
    for none. `to_localhost`: sidecars send what comes in to 127.0.0.1 (``inboundTrafficPolicy``), as before 1.10.
    `upgrades`: they make HTTP/2 of HTTP/1.1 (``h2UpgradePolicy``).
    """

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    outbound_mode: str = "ALLOW_ANY"
    auto_mtls: bool = True
    path_normalization: str = "BASE"
    source: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    exports: Exports = Exports()
    retries: Retries | None = None
    trusted_proxies: int = 0
    locality: LocalitySetting = LocalitySetting()
    ingresses: Ingresses = Ingresses()
    discovery: tuple[Selector, ...] = ()
    to_localhost: bool = False
    upgrades: bool = False

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own trust domain, and those that count as the same."""
        return (self.trust_domain, *self.trust_domain_aliases)


def parse(config_map: Mapping[str, Any] | None, source: str) -> MeshConfig:
    """Read the ConfigMap; without one, Istio's defaults with an empty `source` and no `outbound_mode`.

    Raises BadInput where its YAML is broken.
    """
    if config_map is None:
        return MeshConfig(outbound_mode="")
    text = Fields(config_map, "", []).below("data").text("mesh")
    found = documents(text, f"{source} data.mesh") if text else ()
    mesh = Fields(found[0] if found else {}, "data.mesh", [])
    auto = mesh.flag("enableAutoMtls")
    return MeshConfig(
        mesh.text("rootNamespace") or "istio-system",
        mesh.text("trustDomain") or "cluster.local",
        mesh.below("outboundTrafficPolicy").text("mode") or "ALLOW_ANY",
        auto is not False,
        mesh.below("pathNormalization").text("normalization").replace("DEFAULT", "") or "BASE",
        source,
        mesh.texts("trustDomainAliases"),
        Exports(
            _export(mesh.texts("defaultServiceExportTo")),
            _export(mesh.texts("defaultVirtualServiceExportTo")),
            "." if "." in mesh.texts("defaultDestinationRuleExportTo") else "*",
        ),
        _retries(mesh.below("defaultHttpRetryPolicy")) if mesh.has("defaultHttpRetryPolicy") else None,
        mesh.below("defaultConfig").below("gatewayTopology").number("numTrustedProxies") or 0,
        locality.setting(mesh.below("localityLbSetting")) if mesh.has("localityLbSetting") else LocalitySetting(),
        Ingresses(
            mesh.text("ingressControllerMode") or "STRICT",
            mesh.text("ingressClass") or "istio",
            mesh.text("ingressSelector") or "ingressgateway",
        ),
        tuple(map(selector, mesh.each("discoverySelectors"))),
        mesh.below("inboundTrafficPolicy").text("mode") == "LOCALHOST",
        mesh.text("h2UpgradePolicy") == "UPGRADE",
    )


def _export(said: tuple[str, ...]) -> str:
    return "." if "." in said else "*" if "*" in said or not said else "~"


def _retries(policy: Fields) -> Retries:
    return Retries(policy.number("attempts") or 0, policy.text("retryOn"), policy.text("perTryTimeout"))
