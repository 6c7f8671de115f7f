"""What a check may look at: one pod's description and, where they were gathered, its rules, proxy and sockets."""

from typing import TYPE_CHECKING

from meshctl.checks.finding import Finding, Severity
from meshctl.frozen import dataclass
from meshctl.injection.ambient import Ambient
from meshctl.injection.description import Description
from meshctl.injection.standing import Standing
from meshctl.injection.state import State
from meshctl.kube.pods import Pod
from meshctl.netfilter.model import Ruleset

if TYPE_CHECKING:  # a pod without a proxy's dump does not pay for Envoy's model
    from meshctl.envoy.config_dump import ConfigDump
    from meshctl.envoy.model.basics import IstioConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One pod's evidence.

    `state` is what was seen of the running pod, `standing` its place among the mesh's resources; None where they were
    not looked at. `rulesets` are the packet rules that it has, `gone` the resources that its proxy's
    configuration was made from and that are not there; `foreign` are findings that other packages made.
    """

    description: Description
    state: State | None = None
    standing: Standing | None = None
    ambient: Ambient | None = None
    rulesets: tuple[Ruleset, ...] = ()
    foreign: tuple[Finding, ...] = ()
    gone: "tuple[IstioConfig, ...]" = ()

    @property
    def pod(self) -> Pod:
        """The pod."""
        return self.description.pod

    @property
    def proxy(self) -> "ConfigDump | None":
        """Its proxy's own configuration; None where it was not looked at."""
        return self.state.proxy if self.state is not None else None

    @property
    def subject(self) -> str:
        """How findings name the pod."""
        pod = self.pod
        if pod.template_of:
            kind, _, name = pod.template_of.partition("/")
            return f"{kind.lower()}/{pod.namespace or 'default'}/{name}"
        return f"pod/{pod.namespace or 'default'}/{pod.name}"

    def finding(self, id: str, severity: Severity, text: str, *, evidence: str = "", fix: str = "") -> Finding:
        """A finding about this pod."""
        return Finding(id=id, severity=severity, subject=self.subject, text=text, evidence=evidence, fix=fix)
