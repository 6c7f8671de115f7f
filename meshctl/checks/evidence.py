"""What a check may look at: one pod's description and, where they were gathered, its rules, proxy and sockets."""

from meshctl.checks.finding import Finding, Severity
from meshctl.frozen import dataclass
from meshctl.injection.ambient import Ambient
from meshctl.injection.description import Description
from meshctl.injection.standing import Standing
from meshctl.injection.state import State
from meshctl.kube.pods import Pod
from meshctl.netfilter.model import Ruleset


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One pod's evidence.

    `state` is what was seen of the running pod, `standing` its place among the mesh's resources; None where they were
    not looked at. `rulesets` are the packet rules that it has, `foreign` findings that other packages made.
    """

    description: Description
    state: State | None = None
    standing: Standing | None = None
    ambient: Ambient | None = None
    rulesets: tuple[Ruleset, ...] = ()
    foreign: tuple[Finding, ...] = ()

    @property
    def pod(self) -> Pod:
        """The pod."""
        return self.description.pod

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
