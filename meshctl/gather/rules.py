"""A pod's rules as they are and as they should be: what `iptables dump`, `expect` and `diff` are about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from meshctl import json_text
from meshctl.errors import BadInput, NoAccess
from meshctl.frozen import dataclass
from meshctl.gather import netns
from meshctl.gather.netns import Netns
from meshctl.kube.pods import Pod
from meshctl.netfilter import wanted as wants
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.capture import Network
from meshctl.netfilter.model import Family, Ruleset
from meshctl.netfilter.release import LATEST, Release
from meshctl.netfilter.release import parse as parse_release
from meshctl.netfilter.wanted import Wanted
from meshctl.sources.local_raw import PROCESSES_ONLY
from meshctl.sources.world import Part, World

if TYPE_CHECKING:
    from meshctl.netfilter.drift_items import Drift

_WALKED: Mapping[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
RESOLV_CONF, SANDBOX = "netns/resolv.conf", "runtime/sandbox.json"


@dataclass(frozen=True, slots=True)
class PodRules:
    """Found and wanted rules of one pod, or of bare files (`pod` None, `title` names them).

    `recorded` are the families that were looked at; `gaps` what could not be.
    """

    title: str
    pod: Pod | None
    netns: Netns
    wanted: Wanted | None
    recorded: frozenset[Family]
    parts: Mapping[str, Part]

    @property
    def rulesets(self) -> tuple[Ruleset, ...]:
        """The found rules."""
        return self.netns.rulesets

    @property
    def lacking(self) -> str:
        """Which rules of the pod's own address families could not be looked at; empty where all could."""
        if not self.recorded:
            return "rules"
        pod = self.pod
        own = {"ipv6" if ":" in ip else "ipv4" for ip in (pod.ips or (pod.ip,) if pod else ()) if ip}
        return " and ".join(f"{_WALKED[family]} rules" for family in _WALKED if family in own - self.recorded)

    @property
    def unseen(self) -> bool:
        """Whether a listing of rules is broken, and no other one shows what it held."""
        unread = self.netns.unread
        listing = self.parts.get(netns.LISTING)
        listed = listing is not None and listing.content is not None and netns.LISTING not in unread
        return netns.LISTING in unread or any(
            name in unread and (backend == "legacy" or not listed) for name, (_, backend) in netns.DUMPS.items()
        )


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says about the prediction; empty where nothing is said. `env` is added to the pod's own."""

    release: str | None = None
    env: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def of_pod(world: World, pod: Pod, given: Given | None = None, *, predict: bool = True) -> PodRules:
    """Fetch and parse a pod's rules, and (with `predict`) predict what they should be."""
    said = given or Given()
    names = (*netns.PARTS, RESOLV_CONF, SANDBOX)
    parts = world.parts(pod.namespace, pod.name, names)
    found = netns.of_parts(parts, pod.ips or ((pod.ip,) if pod.ip else ()), whole=predict)
    if PROCESSES_ONLY in pod.annotations:
        # Whether istio-init ran, and with which arguments, cannot be seen by running processes.
        return PodRules(f"{pod.name}.{pod.namespace}", pod, found, None, found.seen, parts)
    wanted = wants.of_pod(
        pod,
        found.rulesets,
        addresses=said.addresses or _addresses(found),
        resolvers=said.resolvers or _resolvers(pod, parts),
        groups=numbers(said.groups),
        release=parse_release(said.release) if said.release else None,
        env=pairs(said.env),
        predict=predict,
    )
    return PodRules(f"{pod.name}.{pod.namespace}", pod, found, wanted, found.seen, parts)


def refuse_denied(rules: PodRules) -> None:
    """Raise NoAccess where no rule of a pod was seen because the cluster forbids to look at them."""
    closed = [rules.parts[name] for name in (*netns.DUMPS, netns.LISTING) if name in rules.parts]
    if rules.recorded or not closed or not all(part.denied for part in closed):
        return
    name = rules.pod.name if rules.pod is not None else rules.title
    namespace = f" -n {rules.pod.namespace}" if rules.pod is not None else ""
    raise NoAccess(
        f"no packet rules of {rules.title} may be read: {closed[0].gap}",
        hint=f"it takes the permission to create pods/exec: `kubectl auth can-i create pods/exec{namespace}`;"
        f" without any, `meshctl iptables expect {name}{namespace}` shows the rules that the pod asks for",
    )


def for_walking(world: World, pod: Pod) -> Netns:
    """A pod's rules; of a family whose rules were not seen those that its arguments ask for, said in the network.

    Raises BadInput where there is neither.
    """
    there = of_pod(world, pod)
    lacking = {family for family in _WALKED if family not in there.netns.seen}
    if not lacking:
        return there.netns
    wanted = there.wanted.expected if there.wanted is not None else None
    if wanted is None and not there.rulesets:
        raise BadInput(f"no rules of {pod.name} can be looked at: {'; '.join(there.netns.gaps)}")
    extra = tuple(r for r in wanted.rulesets if r.family in lacking or r.family == "inet") if wanted is not None else ()
    which = " and ".join(_WALKED[family] for family in sorted(lacking))
    how = "those that the pod's arguments ask for are assumed" if wanted is not None else "none are assumed"
    network = there.netns.network
    assumed = (f"the {which} rules were not seen: {how}", *network.assumed)
    return replace(there.netns, rulesets=(*there.rulesets, *extra), network=replace(network, assumed=assumed))


def of_process(pid: int) -> PodRules:
    """The rules of the network namespace that a process on this machine lives in."""
    from meshctl.sources import netns as namespaces

    parts = namespaces.collect(pid)
    found = netns.of_parts(parts, whole=False)
    return PodRules(f"process {pid}", None, found, None, found.seen, parts)


def of_files(paths: Sequence[Path], family: Family | None = None) -> PodRules:
    """The rules of bare files. Raises NotFound and BadInput with the file's name."""
    found = netns.of_files(paths, family)
    seen: set[Family] = {ruleset.family for ruleset in found.rulesets}
    parts = {}
    for path in paths:
        content = b"" if str(path) == "-" else path.read_bytes()
        parts[str(path)] = Part(str(path), content)
        if content.lstrip().startswith((b"{", b"[")):
            seen |= {"ipv4", "ipv6", "inet"}
    return PodRules(", ".join(map(str, paths)), None, found, None, frozenset(seen), parts)


def of_files_against(paths: Sequence[Path], family: Family | None, args: Sequence[str], given: Given) -> PodRules:
    """The rules of bare files, and what bare `istio-iptables` arguments ask for."""
    found = of_files(paths, family)
    return replace(found, wanted=of_arguments(args, given, found.rulesets))


def of_arguments(args: Sequence[str], given: Given, found: Sequence[Ruleset] = ()) -> Wanted:
    """What bare `istio-iptables` arguments ask for. Raises BadInput where the real tool would end with an error."""
    network = Network(given.addresses, given.resolvers or None, tuple(sorted(numbers(given.groups).items())))
    return wants.of_arguments(args, pairs(given.env), _release(given.release), network, found)


def _release(text: str | None) -> Release:
    return parse_release(text) if text else LATEST


def drift_of(rules: PodRules) -> "Drift | None":
    """How found and wanted rules differ; None where there is nothing to compare (see `PodRules` and `Wanted`)."""
    if rules.wanted is None or rules.wanted.expected is None or not rules.recorded:
        return None
    from meshctl.netfilter.drift import compare

    return compare(rules.wanted.expected, rules.rulesets, rules.wanted.capture, recorded=rules.recorded)


def raw_dumps(rules: PodRules, family: Family | None = None) -> list[bytes]:
    """The dumps as they were read, those with rules; all of them where none has any.

    The nft listing is left out where iptables-save shows the same rules.
    """
    dumps: list[tuple[bytes, bool]] = []
    for name, part in rules.parts.items():
        if part.content is None or (name in netns.PARTS and name not in (*netns.DUMPS, netns.LISTING)):
            continue
        if name in (RESOLV_CONF, SANDBOX):
            continue
        said = netns.DUMPS.get(name)
        if family is not None and said is not None and said[0] != family:
            continue
        if name == netns.LISTING:
            shown = any(r.family == "inet" for r in rules.rulesets) or any(r.through_nft for r in rules.rulesets)
            if family in (None, "inet") or shown:
                dumps.append((part.content, shown and any(not r.empty for r in rules.rulesets)))
        else:
            dumps.append((part.content, b"-A " in part.content or name not in netns.PARTS))
    with_rules = [content for content, holds in dumps if holds]
    return with_rules or [content for content, _ in dumps if content.strip()]


def spelled(wanted: Wanted, form: str, family: Family | None = None) -> str:
    """Predicted rules as text: `form` is ``text`` (the capture's own backend), ``iptables`` or ``nft``."""
    capture, expected = wanted.capture, wanted.expected
    if capture is None or expected is None:
        return ""
    from meshctl.netfilter.expected import predict, predict_node

    native = capture.native_nftables if form == "text" else form == "nft"
    if native != capture.native_nftables:
        if native and not wanted.told.release.since(27):
            raise BadInput(f"Istio {wanted.told.release} writes no native nftables rules: they came with 1.27")
        capture = replace(capture, native_nftables=native)
        if wanted.on_node:
            expected = predict_node(capture, wanted.told.release)
        else:
            expected = predict(capture, wanted.told.release, wanted.network)
    if native:
        return expected.text("nft.txt")
    chosen = {"ipv4": ("iptables-save.txt",), "ipv6": ("ip6tables-save.txt",)}.get(
        family or "", ("iptables-save.txt", "ip6tables-save.txt")
    )
    found = [(name, expected.text(name)) for name in chosen if expected.text(name)]
    if len(found) < 2:
        return "".join(text for _, text in found)
    return "".join(f"# {name.removesuffix('.txt')}\n{text}" for name, text in found)


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """``K=V`` options as a mapping; BadInput for one without an equals sign."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput(f"'{text}' is no NAME=VALUE", hint="write --env ISTIO_META_DNS_CAPTURE=true")
        found[name] = value
    return found


def numbers(texts: Sequence[str]) -> dict[str, int]:
    """``NAME=GID`` options as a mapping."""
    found = {}
    for name, value in pairs(texts).items():
        if not value.isdigit():
            raise BadInput(f"'{name}={value}': the group's number is missing", hint="write --group daemon=1")
        found[name] = int(value)
    return found


def _addresses(found: Netns) -> tuple[str, ...]:
    return tuple(address_text(a.version, a.number) for a in found.network.addresses)


def _resolvers(pod: Pod, parts: Mapping[str, Part]) -> tuple[str, ...] | None:
    """The nameservers of the pod: its ``/etc/resolv.conf``, else the sandbox's record, else its own ``dnsConfig``."""
    part = parts.get(RESOLV_CONF)
    if part is not None and part.content is not None:
        lines = part.content.decode("utf-8", "replace").splitlines()
        return tuple(words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver")
    sandbox = parts.get(SANDBOX)
    try:
        config = json_text.loads((sandbox.content if sandbox else None) or b"{}")["info"]["config"]["dns_config"]
        if config.get("servers"):
            return tuple(map(str, config["servers"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    spec = pod.raw.get("spec") or {}
    own = (spec.get("dnsConfig") or {}).get("nameservers") if isinstance(spec, Mapping) else None
    if pod.dns_policy == "None" and isinstance(own, list):
        return tuple(map(str, own))
    return None
