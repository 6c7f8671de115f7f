"""Where requests go: the clusters by their weights, what becomes of each, and what a proxy says where none takes it."""

from dataclasses import replace

from meshctl.envoy import ip, upstream
from meshctl.envoy.journal import Journal
from meshctl.envoy.model.basics import Address
from meshctl.envoy.model.clusters import Cluster
from meshctl.envoy.model.routes import HashPolicy, Target
from meshctl.envoy.query import Share
from meshctl.envoy.request import Request
from meshctl.origin import Origin


def send(
    walk: Journal,
    targets: tuple[Target, ...],
    origin: Origin,
    request: Request,
    limit: tuple[str, str],
    missing: int = 503,
    hashes: tuple[HashPolicy, ...] = (),
) -> None:
    """Which clusters get it, and whether any can; `limit` is whose circuit breakers count, `missing` the status."""
    shares = shared(targets)
    walk.note(clusters=shares)
    http = request.http
    ends = [
        _upstream(walk, t, share, request, limit, hashes)
        for t, share in zip(targets, shares, strict=True)
        if share.probability > 0
    ]
    walk.note(upstreams=tuple(ends))
    if not ends:
        walk.step("cluster", "", "no cluster has any weight", origin)
        return
    dead = [end for end in ends if end.flags is not None]
    if len(dead) == len(ends):
        status = (missing if dead[0].verdict == "no-cluster" else 503) if http else None
        if not walk.open and status is not None:
            walk.replies(status, dead[0].flags, dead[0].details)
        elif not walk.open:
            walk.note(flags=dead[0].flags)
        walk.note(forwards=False)
    elif any(end.verdict == "undecided" for end in ends):
        walk.note(forwards=None)
    elif not walk.open:
        walk.note(forwards=True)


def _destination(walk: Journal, cluster: Cluster | None, request: Request) -> Address | None:
    """Where an ORIGINAL_DST cluster sends to: where a header says, else where a redirected connection went."""
    if cluster is not None and cluster.destination_header:
        told = next(iter(request.values(cluster.destination_header)), "")
        host, _, port = told.rpartition(":")
        if ip.parsed(host) is not None and port.isdecimal():
            return Address(ip.canonical(host.strip("[]")), int(port))
    if walk.query.direction == "gateway" or walk.found.get("entry") is None:
        return None
    return Address(walk.query.address, walk.query.port)


def _upstream(
    walk: Journal,
    target: Target,
    share: Share,
    request: Request,
    limit: tuple[str, str],
    hashes: tuple[HashPolicy, ...],
) -> upstream.Upstream:
    """What becomes of the requests that one cluster gets."""
    cluster = walk.dump.cluster(target.cluster)
    place = _destination(walk, cluster, request)
    end = upstream.choose(
        walk.dump,
        target.cluster,
        destination=place,
        criteria=target.metadata,
        live=walk.live,
        redirected=False,
    )
    if end.verdict in ("ok", "unresolved", "undecided") and cluster is not None and limit in cluster.refuses:
        end = replace(end, verdict="overflow", because="its circuit breakers are set to let nothing through")
    elif end.verdict == "ok" and cluster is not None and (limit[0], f"{limit[1]} pending") in cluster.refuses:
        end = replace(end, verdict="gives-up", because="its circuit breakers let no connection wait")
    elif end.verdict == "ok" and (by := upstream.hashed_by(cluster, hashes, request)) and len(end.hosts) > 1:
        end = replace(end, by_hash=by, because=f"{end.because}, the same one again for the same {by}")
    if end.verdict == "undecided":
        walk.undecided(f"{target.cluster}: {end.because}")
    part = f"{share.probability * 100:.4g}% of the requests; " if share.probability < 1 else ""
    walk.step("cluster", target.cluster, f"{part}{end.because}", end.cluster.origin if end.cluster else None)
    return end


def shared(targets: tuple[Target, ...]) -> tuple[Share, ...]:
    """Targets with the probability that their weights make."""
    total = sum(t.weight for t in targets) or 1
    return tuple(Share(t.cluster, t.weight, t.weight / total) for t in targets)


def resolved(target: Target, request: Request) -> Target:
    """A target whose cluster a header names."""
    if not target.from_header:
        return target
    return replace(target, cluster=next(iter(request.values(target.from_header)), ""))
