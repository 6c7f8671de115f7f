"""Route configurations: virtual hosts and their routes, read from JSON."""

from collections.abc import Mapping
from typing import cast

from meshctl.envoy import cors as policy
from meshctl.envoy import header_changes, http_filters, route_match, strings
from meshctl.envoy.metadata import istio_config
from meshctl.envoy.model.basics import Opaque, Status
from meshctl.envoy.model.routes import (
    Action,
    DirectResponse,
    Forward,
    HashPolicy,
    HostIndex,
    Mirror,
    PerFilter,
    Redirect,
    RetryPolicy,
    Route,
    RouteConfig,
    Target,
    VirtualHost,
)
from meshctl.envoy.reading import Deferred, Json

_REDIRECTS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}


def config(message: Json, status: Status, *, inline: bool = False) -> RouteConfig:
    """Read a ``RouteConfiguration``: the domains now, the routes when they are asked for."""
    hosts = tuple(virtual_host(h) for h in message.each("virtual_hosts"))
    return RouteConfig(
        name=message.text("name"),
        virtual_hosts=hosts,
        hosts=Deferred(lambda: index(hosts)),
        ignore_port=message.flag("ignore_port_in_host_matching"),
        host_header=message.text("vhost_header").lower(),
        inline=inline,
        filter_config=per_filter(message),
        header_changes=header_changes.parse(message),
        specific_last=message.flag("most_specific_header_mutations_wins"),
        status=status,
        ignores_parameters=message.flag("ignore_path_parameters_in_path_matching"),
        vhds=message.has("vhds"),
        origin=message.origin,
    )


def index(hosts: tuple[VirtualHost, ...]) -> HostIndex:
    """Sort domains into exact ones and wildcards, as Envoy's ``RouteMatcher`` does."""
    exact: dict[str, VirtualHost] = {}
    wild: dict[str, VirtualHost] = {}
    for host in hosts:
        for domain in host.domains:
            (wild if "*" in domain else exact).setdefault(domain, host)
    by_length = sorted(wild.items(), key=lambda item: -len(item[0]))
    return HostIndex(
        exact=exact,
        suffixes=tuple((d[1:], h) for d, h in by_length if d != "*" and d.startswith("*")),
        prefixes=tuple((d[:-1], h) for d, h in by_length if d != "*" and d.endswith("*") and not d.startswith("*")),
        default=wild.get("*"),
    )


def virtual_host(message: Json) -> VirtualHost:
    """Read a ``VirtualHost``; its routes are parsed when they are asked for."""
    require = message.choice("require_tls", "NONE", "NONE", "EXTERNAL_ONLY", "ALL")
    retry, cors = message.below("retry_policy"), message.below("cors")
    return VirtualHost(
        name=message.text("name"),
        domains=tuple(domain.lower() for domain in message.texts("domains")),
        require_tls=require if require in ("NONE", "EXTERNAL_ONLY", "ALL") else "NONE",  # type: ignore[arg-type]
        routes=Deferred(lambda: tuple(route(r) for r in message.each("routes"))),
        filter_config=Deferred(lambda: per_filter(message)),
        retry=Deferred(lambda: retry_policy(retry)),
        cors=Deferred(lambda: policy.config(cors) if message.has("cors") else None),
        header_changes=Deferred(lambda: header_changes.parse(message)),
        limits=message.has("rate_limits"),
        unsupported=("matcher",) if message.has("matcher") else (),
        istio=istio_config(message.below("metadata")),
        origin=message.origin,
    )


def per_filter(message: Json) -> Mapping[str, PerFilter]:
    """Read ``typed_per_filter_config`` by filter name."""
    return {name: http_filters.per_filter(name, each) for name, each in message.map("typed_per_filter_config")}


def route(message: Json) -> Route:
    """Read one ``Route``."""
    return Route(
        name=message.text("name"),
        match=route_match.parse(message.below("match")),
        action=_action(message),
        filter_config=per_filter(message),
        header_changes=header_changes.parse(message),
        istio=istio_config(message.below("metadata")),
        origin=message.origin,
    )


def _action(message: Json) -> Action:
    if message.has("route"):
        return _forward(message.below("route"))
    if message.has("redirect"):
        return _redirect(message.below("redirect"))
    if message.has("direct_response"):
        direct = message.below("direct_response")
        return DirectResponse(direct.whole("status"), direct.below("body").text("inline_string"))
    kinds = [key for key in ("filter_action", "non_forwarding_action") if message.has(key)]
    return Opaque(kinds[0] if kinds else "a route without an action", message.origin)


def _redirect(message: Json) -> Redirect:
    code = message.choice("response_code", "MOVED_PERMANENTLY", *_REDIRECTS)
    return Redirect(
        status=_REDIRECTS.get(code, 301),
        https=message.flag("https_redirect"),
        scheme=message.text("scheme_redirect"),
        host=message.text("host_redirect"),
        port=message.whole("port_redirect") or None,
        path=message.text("path_redirect"),
        prefix_rewrite=message.text("prefix_rewrite"),
        regex_rewrite=_regex_rewrite(message.below("regex_rewrite")),
        strip_query=message.flag("strip_query"),
    )


def _regex_rewrite(message: Json) -> tuple[str, str] | None:
    if not message:
        return None
    return message.below("pattern").text("regex"), message.text("substitution")


def _forward(message: Json) -> Forward:
    timeout = message.seconds("timeout")
    stream = message.below("max_stream_duration")
    missing = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
    names = tuple(missing)
    plugin = next((k for k in ("cluster_specifier_plugin", "inline_cluster_specifier_plugin") if message.has(k)), None)
    return Forward(
        targets=_targets(message),
        weighted=message.has("weighted_clusters"),
        not_found_status=missing.get(message.choice("cluster_not_found_response_code", names[0], *names), 503),
        timeout_s=15.0 if timeout is None else timeout,
        idle_timeout_s=message.seconds("idle_timeout"),
        max_stream_s=stream.seconds("max_stream_duration"),
        retry=retry_policy(message.below("retry_policy")),
        mirrors=_mirrors(message),
        priority=message.choice("priority", "DEFAULT", "DEFAULT", "HIGH"),
        hash_policy=tuple(_hash(h) for h in message.each("hash_policy")),
        prefix_rewrite=message.text("prefix_rewrite"),
        regex_rewrite=_regex_rewrite(message.below("regex_rewrite")),
        host_rewrite=message.text("host_rewrite_literal"),
        auto_host_rewrite=message.flag("auto_host_rewrite"),
        cors=policy.config(message.below("cors")) if message.has("cors") else None,
        limits=message.has("rate_limits"),
        upgrades=http_filters.upgrades(message),
        opaque=Opaque(plugin, message.origin) if plugin else None,
    )


def _targets(message: Json) -> tuple[Target, ...]:
    subset = subset_metadata(message.below("metadata_match"))
    if message.has("weighted_clusters"):
        return tuple(
            Target(
                cluster=each.text("name"),
                weight=each.whole("weight"),
                from_header=each.text("cluster_header").lower(),
                metadata={**subset, **subset_metadata(each.below("metadata_match"))},
                filter_config=per_filter(each),
                host_rewrite=each.text("host_rewrite_literal"),
                header_changes=header_changes.parse(each),
            )
            for each in message.below("weighted_clusters").each("clusters")
        )
    if message.has("cluster_header"):
        return (Target(cluster="", from_header=message.text("cluster_header").lower(), metadata=subset),)
    return (Target(cluster=message.text("cluster"), metadata=subset),) if message.has("cluster") else ()


def subset_metadata(message: Json) -> Mapping[str, object]:
    """The keys of a ``Metadata`` message that choose a subset (``envoy.lb``)."""
    return cast(Mapping[str, object], message.below("filter_metadata").below("envoy.lb").raw)


def _mirrors(message: Json) -> tuple[Mirror, ...]:
    policies = list(message.each("request_mirror_policies"))
    if message.has("request_mirror_policy"):
        policies.append(message.below("request_mirror_policy"))
    return tuple(
        Mirror(
            cluster=p.text("cluster") or f"(from header {p.text('cluster_header')})",
            fraction=strings.fraction(p.below("runtime_fraction")),
        )
        for p in policies
    )


def _hash(message: Json) -> HashPolicy:
    if message.has("header"):
        return HashPolicy("header", message.below("header").text("header_name").lower())
    if message.has("cookie"):
        cookie = message.below("cookie")
        return HashPolicy("cookie", cookie.text("name"), made=cookie.has("ttl"))
    if message.has("query_parameter"):
        return HashPolicy("query parameter", message.below("query_parameter").text("name"))
    by_source = message.below("connection_properties").flag("source_ip")
    return HashPolicy("source address" if by_source else "something else")


def retry_policy(message: Json) -> RetryPolicy | None:
    """Read a ``RetryPolicy``; one attempt more is the default."""
    if not message or not message.text("retry_on"):
        return None
    return RetryPolicy(
        on=tuple(word.strip() for word in message.text("retry_on").split(",") if word.strip()),
        attempts=message.whole("num_retries", 1),
        per_try_timeout_s=message.seconds("per_try_timeout"),
        status_codes=tuple(c for c in message.values("retriable_status_codes") if isinstance(c, int)),
        host_predicates=tuple(p.text("name") for p in message.each("retry_host_predicate")),
        picks=message.whole("host_selection_retry_max_attempts", 1),
        back_off_s=message.below("retry_back_off").seconds("base_interval"),
    )
