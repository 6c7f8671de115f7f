"""What a pod's rules should be: who wrote them, for which capture, by which release.

Three writers: istio-init (its arguments and environment tell all), the istio-cni plugin (a pod with istio-validation:
annotations and the proxy's environment tell), and istio-cni's ambient agent (annotations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection, recognise
from meshctl.kube.containers import Container
from meshctl.kube.pods import Pod
from meshctl.netfilter import capture_flags, fingerprint
from meshctl.netfilter.capture import Capture, Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_cni import of_annotations
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.release import Release, Told, tell

if TYPE_CHECKING:
    from meshctl.netfilter.expected import Expected

_UNKNOWN = Network()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `capture` None: nothing captures this pod's traffic, or (`problem`) it cannot be told.

    `args` and `env` are those that decided, for the reader; `expected` is None where `problem` says why.
    `on_node`: what is expected is not for the pod, but for its node.
    """

    told: Told
    capture: Capture | None
    reason: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    expected: "Expected | None" = None
    problem: str = ""
    notes: tuple[str, ...] = ()
    network: Network = _UNKNOWN
    on_node: bool = False


def of_pod(
    pod: Pod,
    found: Sequence[Ruleset] = (),
    *,
    addresses: Sequence[str] = (),
    resolvers: Sequence[str] | None = None,
    groups: Mapping[str, int] | None = None,
    release: Release | None = None,
    env: Mapping[str, str] | None = None,
    predict: bool = True,
) -> Wanted:
    """The rules that a pod asks for; without `predict` only who is to write them, and for what.

    `addresses` and `resolvers` are those of the pod's namespace, where they are known. Without known nameservers those
    that the found rules name are taken, and that is said.
    """
    injection = recognise(pod)
    told = _told(injection, found, release)
    network = Network(
        tuple(addresses) or pod.ips or ((pod.ip,) if pod.ip else ()),
        None if resolvers is None else tuple(resolvers),
        tuple(sorted((groups or {}).items())),
    )
    try:
        capture, reason, args, variables = _capture(pod, injection, told.release, found, env or {})
    except BadInput as error:
        return Wanted(told, None, f"{_init_name(injection)} itself fails", problem=str(error))
    if not predict:
        return Wanted(told, capture, reason, args, variables)
    if capture is None:
        from meshctl.netfilter.expected import Expected

        return Wanted(told, None, reason, expected=Expected(told.release, (), (), verified=True))
    return predicted(Wanted(told, capture, reason, args, variables), network, found)


def on_node(wanted: Wanted) -> Wanted:
    """The rules on the pod's node instead. Raises BadInput where the pod is not in ambient."""
    from meshctl.netfilter.expected import predict_node

    if wanted.capture is None:
        raise BadInput(f"nothing writes rules on the node for it: {wanted.problem or wanted.reason}")
    expected = predict_node(wanted.capture, wanted.told.release)
    reason = "istio-cni's agent writes these rules on the pod's node (ambient)"
    return replace(wanted, reason=reason, expected=expected, notes=expected.notes, on_node=True)


def of_arguments(
    args: Sequence[str], env: Mapping[str, str], release: Release, network: Network, found: Sequence[Ruleset] = ()
) -> Wanted:
    """The rules that given arguments ask for. Raises BadInput where `istio-iptables` itself would fail."""
    told = Told(release, "option", "as given")
    capture = capture_flags.of_arguments(args, env, release)
    return predicted(
        Wanted(told, capture, "the given arguments", tuple(args), tuple(sorted(env.items()))), network, found
    )


def predicted(wanted: Wanted, network: Network, found: Sequence[Ruleset]) -> Wanted:
    """The same with its prediction; what the network leaves open is taken from the found rules, and said."""
    from meshctl.netfilter.expected import predict

    capture = wanted.capture
    if capture is None:
        return wanted
    notes: list[str] = []
    if capture.dns and not capture.capture_all_dns and network.resolvers is None:
        servers = fingerprint.resolvers(found)
        if servers:
            network = replace(network, resolvers=servers)
            notes.append(f"the nameservers are not known; those of the found rules are taken: {', '.join(servers)}")
    if capture.writer == "ambient" and found:
        capture = _as_the_agent_is_set(capture, found, notes)
    try:
        expected = predict(capture, wanted.told.release, network)
    except (BadInput, ValueError) as error:
        return replace(wanted, problem=str(error), notes=tuple(notes))
    return replace(wanted, capture=capture, expected=expected, notes=(*notes, *expected.notes), network=network)


def _as_the_agent_is_set(capture: Capture, found: Sequence[Ruleset], notes: list[str]) -> Capture:
    """What the pod does not show, since it is set for the node's agent, taken from the rules that it wrote."""
    if "dns" not in capture.settings and any(True for ruleset in found for _ in ruleset.rules):
        captured = _has_dns(found)
        if captured != capture.dns:
            notes.append(
                f"the rules {'capture' if captured else 'do not capture'} DNS: istio-cni is taken to be set so"
            )
        capture = replace(capture, dns=captured)
    for version, name in ((4, "probe_address"), (6, "probe_address_v6")):
        probe = fingerprint.probe_address(found, version)
        if name not in capture.settings and probe not in ("", getattr(capture, name)):
            notes.append(
                f"kubelet's probes come from {probe} by these rules: HOST_PROBE_SNAT_IP of istio-cni is set so"
            )
            changed: dict[str, Any] = {name: probe}
            capture = replace(capture, **changed)
    return capture


def _has_dns(found: Sequence[Ruleset]) -> bool:
    """Whether ambient rules capture DNS: a setting of the node's agent, which the pod does not show."""
    return any(rule.target is not None and "15053" in rule.text for ruleset in found for _, _, _, rule in ruleset.rules)


def _told(injection: Injection, found: Sequence[Ruleset], release: Release | None) -> Told:
    if release is not None:
        return Told(release, "option", "as given", injection.mode == "ambient")
    container = injection.init or injection.proxy
    image = container.image if container is not None else ""
    shape = fingerprint.release(found) if found else None
    if injection.mode == "ambient":
        # The pod's own label names the control plane's revision; who wrote its rules is the node's agent.
        told = tell("", "" if shape else injection.revision, shape)
        return replace(told, ambient=True)
    return tell(image, injection.revision, shape)


def _init_name(injection: Injection) -> str:
    return injection.init.name if injection.init is not None else "the writer of the rules"


def _literal(container: Container | None) -> dict[str, str]:
    if container is None:
        return {}
    return {variable.name: variable.value for variable in container.env if variable.value is not None}


def _capture(
    pod: Pod, injection: Injection, release: Release, found: Sequence[Ruleset], more: Mapping[str, str]
) -> tuple[Capture | None, str, tuple[str, ...], tuple[tuple[str, str], ...]]:
    init, proxy = injection.init, injection.proxy
    native = fingerprint.native(found)
    if pod.host_network:
        return None, "hostNetwork: Istio leaves the node's own namespace alone", (), ()
    if injection.cni and init is not None:
        env = {**_literal(proxy), **more}
        security = proxy.security if proxy is not None else None
        native = native or "--native-nftables" in init.args
        capture = of_annotations(
            pod.annotations,
            env,
            release,
            uid=security.user if security else None,
            gid=security.group if security else None,
            native_nftables=native,
        )
        shown = tuple((name, env[name]) for name in ("ISTIO_META_DNS_CAPTURE", "INVALID_DROP") if name in env)
        return capture, "the istio-cni plugin writes this pod's rules, from its annotations", (), shown
    if init is not None:
        env = {**_literal(init), **more}
        args = (*init.command, *init.args)
        capture = capture_flags.of_arguments(args, env, release)
        return capture, f"{init.name} writes this pod's rules", args, tuple(sorted(env.items()))
    if injection.mode == "ambient":
        tproxy = fingerprint.ambient_tproxy(found)
        capture = of_ambient(pod.annotations, release, more, tproxy=tproxy, native_nftables=native)
        return capture, "istio-cni's agent writes this pod's rules (ambient)", (), ()
    reasons = {
        "gateway": "a gateway: its traffic is not captured",
        "grpc": "a proxyless gRPC pod: its traffic is not captured",
        "none": "not part of the mesh: nothing captures its traffic",
    }
    return None, reasons.get(injection.mode, "no init container: nothing captures its traffic"), (), ()
