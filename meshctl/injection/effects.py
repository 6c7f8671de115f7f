"""What an argument of istio-init changes for this pod, in one sentence."""

from collections.abc import Iterable, Mapping

from meshctl.frozen import dataclass
from meshctl.injection.catalog_pod import PORTS
from meshctl.injection.flags import Argument
from meshctl.injection.mode import Injection
from meshctl.kube.pods import Pod


@dataclass(frozen=True, slots=True)
class AppPort:
    """A TCP port that an application container declares."""

    container: str
    number: int

    def __str__(self) -> str:
        return f"{self.number} ({self.container})"


def app_ports(pod: Pod, injection: Injection) -> tuple[AppPort, ...]:
    """The TCP ports that the pod's own containers declare, each once."""
    found = {
        port.number: AppPort(container.name, port.number)
        for container in reversed(pod.containers)
        if container.kind in ("app", "sidecar") and container.name not in injection.ours
        for port in reversed(container.ports)
        if port.protocol == "TCP"
    }
    return tuple(sorted(found.values(), key=lambda p: p.number))


@dataclass(frozen=True, slots=True)
class Context:
    """What an argument's effect depends on: the other arguments by long name, and the application's ports."""

    given: Mapping[str, str]
    ports: tuple[AppPort, ...]
    injection: Injection


def context(arguments: Iterable[Argument], pod: Pod, injection: Injection) -> Context:
    """The context of all arguments of a container."""
    given = {a.name: (a.value or "").strip() for a in arguments if a.name}
    return Context(given, app_ports(pod, injection), injection)


def of(argument: Argument, around: Context) -> str:
    """One sentence on what the argument does here; empty where its meaning says it all."""
    value = (argument.value or "").strip()
    given, ports, injection = around.given, around.ports, around.injection
    if argument.swallowed:
        return (
            f"its value is missing, so the next word '{argument.value}' was taken as the value and is no flag any more"
        )
    match argument.name:
        case "envoy-port":
            return f"what the application sends arrives at {_proxy(injection)} on port {value}"
        case "inbound-capture-port":
            return f"what is sent to the application arrives at {_proxy(injection)} on port {value} first"
        case "proxy-uid" | "proxy-gid":
            who = "user" if argument.name == "proxy-uid" else "group"
            ids = value.replace(",", ", ")
            return f"connections of {who} {ids} go straight out; an application with it would go around the proxy"
        case "istio-inbound-interception-mode":
            return _mode(value)
        case "istio-inbound-ports":
            return _inbound(value, given.get("istio-local-exclude-ports", ""), ports)
        case "istio-local-exclude-ports":
            return _not_inbound(value, given.get("istio-inbound-ports", ""), ports)
        case "istio-service-cidr":
            return _outbound(value, given.get("istio-outbound-ports", ""))
        case "istio-service-exclude-cidr":
            return (
                f"connections to {_listed(value)} go out directly, without the proxy"
                if value
                else "no address is left out"
            )
        case "istio-outbound-ports":
            star = given.get("istio-service-cidr") == "*"
            if not value:
                return "no port is added"
            if star:
                return "changes nothing here: all destinations are captured already (-i '*')"
            return f"connections to port {_listed(value)} go to the proxy wherever they lead"
        case "istio-local-outbound-ports-exclude":
            return (
                f"connections to port {_listed(value)} go out directly, without the proxy"
                if value
                else "no port is left out"
            )
        case "istio-exclude-interfaces":
            return f"traffic through {_listed(value)} is left alone" if value else "no interface is left out"
        case "kube-virt-interfaces":
            return f"what comes in through {_listed(value)} is treated as if the application sent it" if value else ""
        case "skip-rule-apply" | "run-validation":
            return "the rules are the CNI plugin's work; this container only checks them" if injection.cni else ""
        case _:
            return ""


def _proxy(injection: Injection) -> str:
    return injection.proxy.name if injection.proxy else "the proxy"


def _listed(value: str) -> str:
    return ", ".join(part.strip() for part in value.split(",") if part.strip())


def _mode(value: str) -> str:
    match value:
        case "TPROXY":
            return "the application still sees the callers' real addresses"
        case "NONE":
            return "nothing is captured; the proxy only sees what is sent to it on purpose"
        case "REDIRECT" | "":
            return "the application sees 127.0.0.6 as the caller; the real caller is known to the proxy only"
        case _:
            return f"'{value}' is no mode that Istio knows"


def _inbound(value: str, excluded: str, ports: tuple[AppPort, ...]) -> str:
    if not value:
        return "nothing incoming is captured: callers reach the application without mutual TLS, policies and metrics"
    if value == "*":
        out = set(_numbers(excluded))
        ours = [p for p in ports if p.number not in out]
        return "every incoming TCP connection" + (f", {_ports(ours)} included" if ours else "")
    listed = set(_numbers(value))
    inside = [p for p in ports if p.number in listed]
    outside = [p for p in ports if p.number not in listed]
    said = f"only connections to port {_listed(value)}"
    if outside:
        said += f"; {_ports(outside)} is reached without the proxy"
    elif inside:
        said += ", all that the application declares"
    return said


def _not_inbound(value: str, included: str, ports: tuple[AppPort, ...]) -> str:
    if included != "*":
        return "changes nothing here: only listed ports are captured (-b)"
    known = {str(p.number): p for p in ports}
    said = []
    for number in (part.strip() for part in value.split(",")):
        if number in known:
            said.append(f"{known[number]}: callers go around the proxy")
        elif number in PORTS:
            said.append(f"{number}: {PORTS[number].meaning}")
        elif number:
            said.append(number)
    return "; ".join(said) or "no port is left out"


def _outbound(value: str, added: str) -> str:
    if value == "*":
        return "every outgoing TCP connection, to whatever address"
    if not value:
        only = f", except to port {_listed(added)}" if added else ""
        return f"nothing outgoing is captured{only}: calls leave without routing rules, mutual TLS and metrics"
    return f"only connections to {_listed(value)}; all others leave without the proxy"


def _numbers(value: str) -> list[int]:
    return [int(p) for p in (part.strip() for part in value.split(",")) if p.isdigit()]


def _ports(ports: list[AppPort]) -> str:
    return ", ".join(map(str, ports))
