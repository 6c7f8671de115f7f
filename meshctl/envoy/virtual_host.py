"""Choosing a virtual host: exact domains, then the longest suffix, then the longest prefix, then ``*``."""

from meshctl.envoy import rewrite
from meshctl.envoy.model.routes import RouteConfig, VirtualHost
from meshctl.envoy.request import Request


def choose(config: RouteConfig, request: Request) -> tuple[VirtualHost | None, str]:
    """The virtual host for a request and why (Envoy, ``RouteMatcher::findVirtualHost``)."""
    index = config.hosts.get()
    host = request.host
    if config.host_header:
        host = next(iter(request.values(config.host_header)), "")
    if config.ignore_port:
        host = rewrite.named(host)
    host = host.lower()
    if host in index.exact:
        return index.exact[host], f"{host} is one of its domains"
    for suffix, found in index.suffixes:
        if len(host) > len(suffix) and host.endswith(suffix):
            return found, f"{host} fits *{suffix}, the longest suffix that does"
    for prefix, found in index.prefixes:
        if len(host) > len(prefix) and host.startswith(prefix):
            return found, f"{host} fits {prefix}*, the longest prefix that does"
    named = host or "a request without a host"
    if index.default is not None:
        return index.default, f"no domain is for {named}, and this one takes every host (*)"
    return None, f"no domain is for {named}, and none takes every host"
