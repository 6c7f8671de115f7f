"""``meshctl proxy``: one proxy's own configuration, and what it would do with a request."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshctl.cli.options import Invocation, command, completer, group

if TYPE_CHECKING:
    from meshctl.gather.proxies import Proxy

app = group("Show what a proxy was told, and ask it what it would do with a request.")

PodArg = Annotated[
    str | None,
    typer.Argument(help="A pod, deploy/NAME or svc/NAME.", metavar="POD", autocompletion=completer("pods")),
]
FileOption = Annotated[
    str | None, typer.Option("--file", "-f", help="Read this config dump, not a pod's (- is stdin).", metavar="FILE")
]
Address = Annotated[str | None, typer.Option("--address", help="Only this address.", metavar="IP")]
Port = Annotated[int | None, typer.Option("--port", metavar="PORT", help="Only this port.", min=0, max=65535)]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only names with this in them.")]
Fqdn = Annotated[str | None, typer.Option("--fqdn", help="Only hosts with this in them.", metavar="HOST")]
Way = Annotated[
    Literal["inbound", "outbound"] | None, typer.Option("--direction", help="Only this direction.", show_choices=True)
]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", metavar="NAME", help="Only clusters with this in their name.")
]


@command(
    app,
    "listeners",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl --demo proxy listeners productpage --port 9080\n"
    "  istioctl proxy-config all POD -o json | meshctl proxy listeners -f -",
)
def listeners(
    call: Invocation,
    pod: PodArg = None,
    file: FileOption = None,
    address: Address = None,
    port: Port = None,
    name: Name = None,
    direction: Way = None,
    type: Annotated[Literal["HTTP", "TCP"] | None, typer.Option("--type", help="Only chains of this kind.")] = None,
) -> None:
    """Show every filter chain: when it is chosen and where it leads, with those behind 15006 by their own port."""
    from meshctl.cli.show import show
    from meshctl.envoy import select
    from meshctl.views import proxy_listeners as view

    subject = _subject(call, pod, file, "Listeners")
    wanted = select.Wanted(address=address, port=port, name=name, direction=direction, type=type)
    rows = tuple(select.chains(subject.dump, wanted))
    show(
        call,
        lambda: view.document(subject.name, rows),
        lambda: view.page(subject.name, rows),
    )


@command(
    app,
    "routes",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl --demo proxy routes productpage --name 9080",
)
def routes(
    call: Invocation,
    pod: PodArg = None,
    file: FileOption = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only the route configuration of this name.")
    ] = None,
    fqdn: Fqdn = None,
    cluster: ClusterOption = None,
) -> None:
    """Show every route: its hosts, its match, the clusters it sends to with their shares, and the VirtualService."""
    from meshctl.cli.show import show
    from meshctl.envoy import select
    from meshctl.views import proxy_routes as view

    subject = _subject(call, pod, file, "Routes")
    rows = tuple(select.routes(subject.dump, select.Wanted(name=name, fqdn=fqdn, cluster=cluster)))
    show(call, lambda: view.document(subject.name, rows), lambda: view.page(subject.name, rows))


@command(
    app,
    "clusters",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl --demo proxy clusters productpage --fqdn reviews --subset v1",
)
def clusters(
    call: Invocation,
    pod: PodArg = None,
    file: FileOption = None,
    fqdn: Fqdn = None,
    port: Port = None,
    subset: Annotated[str | None, typer.Option("--subset", metavar="NAME", help="Only this subset.")] = None,
    direction: Way = None,
    name: Name = None,
    type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only this type: EDS, STATIC, ORIGINAL_DST ...")
    ] = None,
) -> None:
    """Show every cluster: host, port, subset, TLS, healthy endpoints, and the DestinationRule."""
    from meshctl.cli.show import show
    from meshctl.envoy import select
    from meshctl.views import proxy_clusters as view

    subject = _subject(call, pod, file, "Clusters")
    wanted = select.Wanted(fqdn=fqdn, port=port, subset=subset, direction=direction, name=name, type=type)
    rows = tuple((c, select.healthy(subject.dump, subject.live, c)) for c in select.clusters(subject.dump, wanted))
    show(call, lambda: view.document(subject.name, rows), lambda: view.page(subject.name, rows))


@command(
    app,
    "endpoints",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl --demo proxy endpoints productpage --cluster reviews --status healthy",
)
def endpoints(
    call: Invocation,
    pod: PodArg = None,
    file: FileOption = None,
    address: Address = None,
    port: Port = None,
    cluster: ClusterOption = None,
    fqdn: Fqdn = None,
    status: Annotated[
        Literal["healthy", "unhealthy", "degraded"] | None, typer.Option("--status", help="Only this health.")
    ] = None,
) -> None:
    """Show every endpoint of every cluster: health, weight, TLS, workload."""
    from meshctl.cli.show import show
    from meshctl.envoy import select
    from meshctl.views import proxy_endpoints as view

    subject = _subject(call, pod, file, "Endpoints")
    wanted = select.Wanted(address=address, port=port, cluster=cluster, fqdn=fqdn, status=status)
    rows, live = tuple(select.endpoints(subject.dump, subject.live, wanted)), subject.live is not None
    show(
        call,
        lambda: view.document(subject.name, rows, live),
        lambda: view.page(subject.name, rows, live),
    )


@command(app, "secrets", examples="  meshctl --demo proxy secrets productpage")
def secrets(call: Invocation, pod: PodArg = None, file: FileOption = None) -> None:
    """Show the names and states of secrets and the certificates in use; never what is in them."""
    from meshctl.cli.show import show
    from meshctl.views import proxy_secrets as view

    subject = _subject(call, pod, file, "Secrets")
    found, certificates = subject.dump.secrets(), subject.certificates or ()
    show(
        call,
        lambda: view.document(subject.name, found, certificates),
        lambda: view.page(subject.name, found, certificates),
    )


@command(app, "bootstrap", examples="  meshctl --demo proxy bootstrap productpage")
def bootstrap(call: Invocation, pod: PodArg = None, file: FileOption = None) -> None:
    """Show who the proxy says it is, its versions, and what it rejected or waits for."""
    from meshctl.cli.show import show
    from meshctl.views import proxy_bootstrap as view

    subject = _subject(call, pod, file, "Bootstrap")
    show(
        call,
        lambda: view.document(subject.name, subject.dump, subject.info),
        lambda: view.page(subject.name, subject.dump, subject.info),
    )


_MATCH_EXAMPLES = """
  meshctl proxy match productpage --direction outbound --address 10.96.3.7 --port 9080 --host reviews:9080
  meshctl proxy match -f config_dump.json --direction inbound --address 10.0.0.7 --port 9080 --tls mtls
  meshctl proxy match svc/istio-ingressgateway -n istio-system --direction gateway --port 8443 --tls tls --sni a.com
"""


@command(app, "match", examples=_MATCH_EXAMPLES)
def match(
    call: Invocation,
    pod: PodArg = None,
    file: FileOption = None,
    direction: Annotated[
        Literal["outbound", "inbound", "gateway"], typer.Option("--direction", help="From where the connection comes.")
    ] = "outbound",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="IP", help="The original destination; inbound and gateway: the pod's own."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="The original destination port.", min=0, max=65535)
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="The Host or :authority header.")] = None,
    path: Annotated[str, typer.Option("--path", metavar="/PATH", help="The path, with its query.")] = "/",
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="The HTTP method.")] = "GET",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="A request header (repeatable).", metavar="K=V")
    ] = None,
    protocol: Annotated[
        Literal["http", "http2", "tcp"], typer.Option("--protocol", help="What is inside the connection.")
    ] = "http",
    tls: Annotated[
        Literal["plaintext", "tls", "mtls"],
        typer.Option("--tls", help="What is around it: nothing, the client's own TLS, Istio's mutual TLS."),
    ] = "plaintext",
    sni: Annotated[
        str | None,
        typer.Option("--sni", metavar="NAME", help="The server name in a TLS handshake; with --tls tls it is --host."),
    ] = None,
    alpn: Annotated[
        list[str] | None,
        typer.Option("--alpn", metavar="PROTOCOL", help="An application protocol that the client offers (repeatable)."),
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="The client's address.", metavar="IP")] = None,
    source_port: Annotated[
        int | None, typer.Option("--source-port", metavar="PORT", help="The client's port.", min=0, max=65535)
    ] = None,
    principal: Annotated[
        str | None, typer.Option("--principal", help="The client's identity in mutual TLS.", metavar="SPIFFE-ID")
    ] = None,
) -> None:
    """Ask one proxy alone what it would do with a request: listener, filter chain, route, cluster, and why."""
    from meshctl.cli.show import show
    from meshctl.envoy import ask
    from meshctl.envoy.match import match as decide
    from meshctl.views import proxy_match as views

    subject = _subject(call, pod, file)
    query = ask.query(
        subject.dump.bootstrap(),
        direction=direction, address=address, port=port, host=host, path=path, method=method, headers=header or (),
        protocol=protocol, tls=tls, sni=sni, alpn=alpn or (), source=source, source_port=source_port,
        principal=principal, at=subject.at,
    )  # fmt: skip
    result = decide(subject.dump, query, live=subject.live)
    show(call, lambda: views.document(result), lambda: views.page(subject.name, result))


def _subject(call: Invocation, pod: str | None, file: str | None, section: str = "") -> "Proxy":
    from meshctl.cli.show import say
    from meshctl.errors import BadInput
    from meshctl.gather import proxies

    if (pod is None) == (file is None):
        raise BadInput("name a POD, or a config dump with -f FILE", hint="for example: meshctl proxy routes POD")
    found = proxies.from_file(file) if file is not None else proxies.of_pod(call.world(), pod, call.scope())
    for gap in found.gaps:
        say(f"note: {gap}")
    if section and not found.dump.has(section):
        say(f"note: {found.name} holds no {section.lower()}")
    return found
