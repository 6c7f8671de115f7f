"""The handshake of two proxies: whether each takes the certificate that the other shows.

What a proxy shows and trusts is in its ``/certs``; which names the sender asks for is in its cluster's TLS context.
Source: Envoy, ``DefaultCertValidator``, ``NotReadySslSocket``; as recorded, an ``UF`` for what the sender refuses. What
the receiver refuses is, in TLS 1.3, only noticed after the sender took the handshake for done.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from meshctl.envoy import strings, tls
from meshctl.envoy.model.sockets import ROOT, SanMatch, Tls
from meshctl.envoy.server_info import Certificate
from meshctl.frozen import dataclass
from meshctl.kube.fields import moment_of
from meshctl.path.decision import Decision, Refusal
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a handshake fails; `sure` False: it may. `late`: the receiver refuses, not the sender."""

    why: str
    sure: bool = True
    late: bool = False


def judged(scene: Scene, station: Station, conn: Connection, decision: Decision) -> Decision:
    """The decision of a callee's proxy, where the handshake before it is what fails."""
    if (why := _unknown_certificate(conn, decision)) != "":
        return replace(decision, refusal=None, undecided=(why,))
    found = None
    if decision.terminated and conn.layer != "plaintext":
        found = not_ready(station, receiving(station, decision))
    if found is None and _ended_by_it(conn, decision):
        found = failure(scene, station, conn, receiving(station, decision))
    if found is None:
        return decision
    if not found.sure:
        return replace(decision, undecided=(found.why, *decision.undecided))
    refused = Refusal(None, "", "", found.why, "handshake", "certificate", late=found.late)
    return replace(decision, refusal=refused, undecided=())


def failure(scene: Scene, station: Station, conn: Connection, takes: Tls | None) -> Failure | None:
    """Why the mutual TLS of a sender's proxy with the proxy of `station` fails; None where nothing speaks against it.

    `takes` is the callee's TLS context, None where its configuration was not recorded: then it is Istio's own.
    """
    asked, sender = conn.tls, conn.sender
    if asked is None or sender is None:
        return None
    theirs, ours = station.load_certificates(), sender.load_certificates()
    own = takes is None or takes.istio_mutual
    if own and (why := _outdated(_workload(theirs), scene.now)):
        return Failure(f"the callee's certificate {why}: the caller's proxy refuses it (certificate verify failed)")
    if own and asked.trust == ROOT and (found := _strangers(sender, station, ours, theirs, scene.now)):
        return found
    if own and asked.trust not in ("", ROOT) and (found := _other_trust(sender, station, asked.trust, ours, theirs)):
        return found
    if found := _misnamed(scene, station, asked.sans, _workload(theirs), own):
        return found
    if takes is not None and asked.istio_mutual and (found := _unwanted(scene, sender, takes.sans, ours)):
        return found
    asks = takes is None or takes.asks_for_certificate
    if asks and asked.istio_mutual and (why := _outdated(_workload(ours), scene.now)):
        return Failure(f"the caller's certificate {why}: the callee's proxy refuses it", late=True)
    return None


def _unknown_certificate(conn: Connection, decision: Decision) -> str:
    """Why it cannot be told whether a certificate is taken that is not the mesh's; empty where there is none."""
    refusal = decision.refusal
    if conn.layer != "tls" or conn.tls is None or not conn.tls.certificates or refusal is None:
        return ""
    if refusal.kind != "handshake" or "NR" in refusal.flags.split(","):
        return ""
    shown = ", ".join(conn.tls.certificates)
    return f"the sender shows its own certificate ({shown}): whether the callee trusts who signed that is not recorded"


def _ended_by_it(conn: Connection, decision: Decision) -> bool:
    """Whether it is this proxy that ends the sender's mutual TLS."""
    if conn.layer != "mtls" or not conn.by_proxy or conn.tls is None:
        return False
    refused = decision.refusal is not None and decision.refusal.kind == "handshake"
    return decision.terminated or (decision.assumed and not refused)


def receiving(station: Station, decision: Decision) -> Tls | None:
    """The TLS context of the chain that a decision names: chains of one name differ in what they match only."""
    if station.proxy is None or decision.assumed:
        return None
    found = station.proxy.listener(decision.listener) if decision.listener else None
    if found is None:
        return None
    chains = (*found.chains.get(), *filter(None, (found.default_chain.get(),)))
    contexts = (chain.transport_socket.get().tls for chain in chains if chain.name == decision.chain)
    return next((context for context in contexts if context is not None), None)


def not_ready(station: Station, context: Tls | None) -> Failure | None:
    """Why a TLS context cannot be used at all: a secret that its proxy asked for and did not get."""
    if station.proxy is None or context is None:
        return None
    name = tls.awaited(context, station.proxy.secrets())
    why = f"the proxy of {station.pod.name} still waits for secret {name}: it is not supplied by SDS, so its TLS fails"
    return Failure(why) if name else None


def _workload(recorded: Sequence[Certificate] | None) -> tuple[Certificate, ...]:
    """The certificates of a workload's own identity, among those that its proxy has."""
    return tuple(one for one in recorded or () if one.kind == "certificate" and one.principal)


def _outdated(certificates: Sequence[Certificate], now: datetime | None) -> str:
    """Why none of these certificates is valid now; empty where one is, or where it cannot be told."""
    reasons = [_when(one, now) for one in certificates]
    return reasons[0] if reasons and all(reasons) else ""


def _when(certificate: Certificate, now: datetime | None) -> str:
    until, since = moment_of(certificate.not_after), moment_of(certificate.not_before)
    if now is not None and until is not None and until <= now:
        return f"expired at {until:%Y-%m-%d %H:%M}"
    if now is not None and since is not None and since > now:
        return f"is not valid before {since:%Y-%m-%d %H:%M}"
    return ""


def _strangers(
    sender: Station,
    station: Station,
    ours: Sequence[Certificate] | None,
    theirs: Sequence[Certificate] | None,
    now: datetime | None,
) -> Failure | None:
    """Whether the caller knows who signed the callee's certificate: both have the same roots, and these are valid."""
    mine = [one for one in ours or () if one.kind == "trust"]
    others = [one for one in theirs or () if one.kind == "trust"]
    if why := _outdated(mine, now):
        return Failure(f"the caller's root certificate {why}: it refuses the callee's (certificate verify failed)")
    shared = {one.serial for one in mine} & {one.serial for one in others}
    known, signed = _anchors(sender, ROOT), _anchors(station, ROOT)
    if shared and known and signed and not known & signed:  # what they share is another context's
        shared = set()
    if not mine or not others or shared:
        return None
    why = "caller and callee have different root certificates, so the caller refuses the callee's certificate"
    if _several(sender) or _several(station):
        why = "caller and callee list different root certificates first: whether they share another is not recorded"
        return Failure(why, sure=False)
    return Failure(f"{why} (certificate verify failed)")


def _other_trust(
    sender: Station,
    station: Station,
    trust: str,
    ours: Sequence[Certificate] | None,
    theirs: Sequence[Certificate] | None,
) -> Failure | None:
    """Whether the caller knows who signed the callee's certificate by something else than the roots of the mesh.

    ``/certs`` does not tell which of its roots is whose: where the caller has none besides the callee's, it is these.
    """
    mine = {one.serial for one in ours or () if one.kind == "trust"}
    if mine and mine <= {one.serial for one in theirs or () if one.kind == "trust"}:
        return None
    asked, signed = _anchors(sender, trust), _anchors(station, ROOT)
    if asked & signed:
        return None
    why = f"the caller trusts by {trust}, not by the roots of the mesh"
    if asked and signed:
        return Failure(f"{why}, and these have not signed the callee's certificate (certificate verify failed)")
    return Failure(f"{why}: whether that knows who signed the callee's certificate is not recorded", sure=False)


def _anchors(station: Station, name: str) -> set[str]:
    found = station.proxy.secrets() if station.proxy is not None else ()
    return {anchor for secret in found if secret.name == name for anchor in secret.anchors}


def _unwanted(
    scene: Scene, sender: Station, wanted: tuple[SanMatch, ...], shown: Sequence[Certificate] | None
) -> Failure | None:
    """Whether the caller's certificate carries a name that the callee asks for."""
    names = tuple(name for one in _workload(shown) for name in one.names) or (scene.principal(sender),)
    fits = tls.san_fits(wanted, names) if wanted else True
    if fits:
        return None
    asked = ", ".join(strings.shown(one.matcher) for one in wanted[:3])
    why = f"the callee asks for a certificate with the name {asked}, and the caller's carries {', '.join(names)}"
    return Failure(why if fits is False else f"{why}: whether that fits cannot be told", sure=fits is False, late=True)


def _several(station: Station) -> bool:
    """Whether a proxy trusts more roots than the first, which is all that ``/certs`` tells."""
    found = station.proxy.secrets() if station.proxy is not None else ()
    return any(secret.name == ROOT and secret.roots > 1 for secret in found)


def _misnamed(
    scene: Scene, station: Station, wanted: tuple[SanMatch, ...], shown: Sequence[Certificate], own: bool
) -> Failure | None:
    """Whether the callee's certificate carries a name that the caller asks for."""
    if not wanted:
        return None
    names = tuple(name for one in shown for name in one.names) if own else ()
    carries = "carries"
    if not names and own:
        names, carries = (scene.principal(station),), "should carry"
    if not names:
        return Failure("which names are in the certificate that the callee shows is not recorded", sure=False)
    fits = tls.san_fits(wanted, names)
    if fits:
        return None
    asked = ", ".join(strings.shown(one.matcher) for one in wanted[:3])
    why = f"the caller asks for a certificate with the name {asked}, and the callee's {carries} {', '.join(names)}"
    if fits is None:
        return Failure(f"{why}: whether that fits cannot be told", sure=False)
    alike = [one for one in wanted if one.kind in ("", "URI") and one.matcher.value.endswith(f"/{station.identity}")]
    if not shown and alike:
        return Failure(f"{why}, by the trust domain of the mesh: its certificate was not recorded", sure=False)
    return Failure(f"{why} (certificate verify failed)")
