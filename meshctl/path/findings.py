"""What a trace finds wrong, worst first: failures by their ids, with what to do, and what is not up to date."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from meshctl.path.decision import Decision
from meshctl.path.model import Aim, Cause, End, Finding, Hop, succeeds
from meshctl.path.outcome import Course, failing

_IDS = (("UH", "MT102"), ("NC", "MT103"), ("NR", "MT104"))
_OF_CAUSE: Mapping[Cause, str] = {
    "dns": "MT101",
    "no-endpoint": "MT102",
    "no-cluster": "MT103",
    "no-route": "MT104",
    "policy": "MT105",
    "fault": "MT106",
    "mutual-tls": "MT107",
    "certificate": "MT107",
    "strict": "MT107",
    "nobody-listens": "MT108",
    "not-running": "MT112",
    "not-alive": "MT114",
}
_FIXES: Mapping[Cause, str] = {
    "no-endpoint": "meshctl proxy endpoints shows what the proxy knows",
    "no-cluster": "name a host and subset that exist in the VirtualService",
    "no-route": "add a route for this host and path, or correct the request",
    "policy": "change the policy, or call with what it asks for",
    "fault": "remove fault.abort from the VirtualService",
    "mutual-tls": "let both ends agree: PeerAuthentication of the callee, DestinationRule of the caller",
    "certificate": "meshctl proxy secrets shows what a proxy has; the agent's log says why it got no other",
    "strict": "let the caller speak mutual TLS (a sidecar, and the Service's name), or set PERMISSIVE for the port",
    "registry-only": "add a ServiceEntry for it, name it in the Sidecar's egress hosts, or set ALLOW_ANY",
    "nobody-listens": "call a port, or let targetPort name one, that the application listens on, on all addresses",
    "proxy-down": "meshctl describe pod shows why the proxy is not up",
    "family": "call it by its other address, or let the mesh be of both families (ISTIO_DUAL_STACK)",
    "no-port": "call a port that the Service has",
    "kube-proxy": "kubectl get endpointslices shows the Service's endpoints: let its selector fit pods that are ready",
    "not-running": "meshctl check says what Envoy refused, and what it still waits for: mend that configuration first",
    "not-alive": "call, or trace from, a pod that runs; why this one does not: kubectl describe pod",
    "rules": "meshctl iptables diff shows which rules are not the mesh's",
    "node-rules": "let whoever writes that node's rules (a firewall, the network plugin) accept it",
}


def failures(courses: list[Course], aim: Aim) -> Iterator[Finding]:
    """Each way to fail once, with its share of the requests."""
    told: set[tuple[str, str]] = set()
    for course in courses:
        end = course.end
        if succeeds(end) is not False or (end.why, end.flags) in told:
            continue
        told.add((end.why, end.flags))
        alike = [c for c in courses if (c.end.why, c.end.flags) == (end.why, end.flags) and succeeds(c.end) is False]
        chance = sum(c.probability for c in alike)
        share = "" if chance > 0.999 else f" ({chance:.0%} of the requests)"
        severity: Literal["error", "warning"] = "error" if chance > 0.5 else "warning"
        text = f"{aim.service}:{aim.port}{share}: {end.why}"
        yield Finding(_id(end), severity, text, _FIXES.get(end.cause, ""), end.cause)


def not_up_to_date(hops: Iterable[Hop], aim: Aim) -> Iterator[Finding]:
    """Where what runs is not what the resources say: the outcome is that of what runs."""
    for hop in hops:
        if hop.stale:
            text = f"{aim.service}:{aim.port}: {hop.title} at {hop.at} is not up to date: {hop.stale}"
            yield Finding("MT109", "warning", text, "see whether the proxy hears of changes: istioctl proxy-status")


def restricted(courses: Iterable[Course], aim: Aim) -> Iterator[Finding]:
    """NetworkPolicies that let the request not through, or may not, if the cluster's network plugin enforces them."""
    for told in dict.fromkeys(one for course in courses for one in course.restricted):
        fix = "allow it in a NetworkPolicy of that pod's namespace; what happens now: meshctl trace --probe"
        yield Finding("MT113", "warning", f"{aim.service}:{aim.port}: {told}", fix)


def unlike_status(remarks: Iterable[str], aim: Aim) -> Iterator[Finding]:
    """Pods that are traced as what was seen of them shows, which is not what their status says."""
    for told in dict.fromkeys(filter(None, remarks)):
        fix = "see how it starts: kubectl describe pod; a status may be older than what was seen, so look once more"
        yield Finding("MT114", "warning", f"{aim.service}:{aim.port}: {told}", fix)


def hidden(courses: Iterable[Course], aim: Aim) -> Iterator[Finding]:
    """Endpoints that fail without the client noticing, since the proxy tries another one."""
    for spared in dict.fromkeys(one for course in courses for one in course.spared):
        text = f"{aim.service}:{aim.port}: {spared.place} {failing(spared)}, and only retries hide it: {spared.why}"
        yield Finding("MT110", "warning", text, "mend that endpoint: each such request costs another try")


def copies(decisions: Iterable[Decision], aim: Aim) -> Iterator[Finding]:
    """Mirrors whose copies of the request reach nobody: neither the client nor a log notices."""
    for name, why in dict.fromkeys(pair for decision in decisions for pair in decision.dropped):
        text = f"{aim.service}:{aim.port}: the copies for {name} are dropped: {why}"
        yield Finding(
            "MT111", "warning", text, "name a host, subset and port in the VirtualService's mirror that exist"
        )


def not_running(decisions: Iterable[Decision], courses: Iterable[Course], aim: Aim) -> Iterator[Finding]:
    """Listeners that are meant for the request and do not run, where it arrives without them."""
    blamed = [course.end.why for course in courses if course.end.cause == "not-running"]
    for missed in dict.fromkeys(decision.missed for decision in decisions if decision.missed):
        if not any(why.startswith(missed) for why in blamed):
            text = f"{aim.service}:{aim.port}: {missed}"
            yield Finding("MT112", "warning", text, _FIXES["not-running"])


def _id(end: End) -> str:
    """The finding that an end is: by Envoy's flag where there is one that names it, else by its cause."""
    if end.cause == "not-running":
        return _OF_CAUSE[end.cause]
    words = set(end.flags.split(",")) | set(end.server_flags.split(","))
    by_flag = next((id_ for flag, id_ in _IDS if flag in words), "")
    return by_flag or _OF_CAUSE.get(end.cause, "MT199")
