"""Pages for the renderers' tests: one of each block, and a default pod's nat chains."""

from meshctl.blocks import (
    Bar,
    Block,
    Column,
    Edge,
    Facts,
    Graph,
    Heading,
    Lane,
    Lanes,
    Node,
    Note,
    Page,
    Span,
    Stage,
    Table,
    Text,
    Timeline,
    Tree,
    Verbatim,
    Vertex,
)

CHAINS = Graph(
    title="The nat table, IPv4",
    vertices=(
        Vertex("prerouting", "PREROUTING", ("hook · policy ACCEPT", "1  -p tcp -j ISTIO_INBOUND"), "round"),
        Vertex("output", "OUTPUT", ("hook · policy ACCEPT", "1  -p tcp -j ISTIO_OUTPUT"), "round"),
        Vertex(
            "inbound",
            "ISTIO_INBOUND",
            (
                "1  -p tcp --dport 15008 -j RETURN",
                "2  -p tcp --dport 15090 -j RETURN",
                "3  -p tcp --dport 15021 -j RETURN",
                "4  -p tcp --dport 15020 -j RETURN",
                "5  -p tcp -j ISTIO_IN_REDIRECT",
            ),
        ),
        Vertex(
            "istio_output",
            "ISTIO_OUTPUT",
            (
                "1  -s 127.0.0.6/32 -o lo -j RETURN",
                "2  ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 --uid-owner 1337 -j ISTIO_IN_REDIRECT",
                "3  -o lo ! --uid-owner 1337 -j RETURN",
                "4  --uid-owner 1337 -j RETURN",
                "5  ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 --gid-owner 1337 -j ISTIO_IN_REDIRECT",
                "6  -o lo ! --gid-owner 1337 -j RETURN",
                "7  --gid-owner 1337 -j RETURN",
                "8  -d 127.0.0.1/32 -j RETURN",
                "9  -j ISTIO_REDIRECT",
            ),
        ),
        Vertex("in_redirect", "ISTIO_IN_REDIRECT", ("1  -p tcp -j REDIRECT --to-ports 15006",)),
        Vertex("redirect", "ISTIO_REDIRECT", ("1  -p tcp -j REDIRECT --to-ports 15001",)),
        Vertex("to15006", "15006: Envoy, inbound", (), "exit"),
        Vertex("to15001", "15001: Envoy, outbound", (), "exit"),
        Vertex("leaves", "leaves unchanged", (), "exit"),
    ),
    edges=(
        Edge("prerouting", "inbound", "tcp · 118"),
        Edge("output", "istio_output", "tcp · 42"),
        Edge("inbound", "leaves", "the proxy's own ports · 96", "dim"),
        Edge("inbound", "in_redirect", "the rest · 22"),
        Edge("istio_output", "in_redirect", "proxy to its own app · 0"),
        Edge("istio_output", "leaves", "the proxy's own traffic · 30", "dim"),
        Edge("istio_output", "redirect", "the app's calls · 12", "good"),
        Edge("in_redirect", "to15006", "22", "good"),
        Edge("redirect", "to15001", "12", "good"),
    ),
)
PATH = Lanes(
    lanes=(
        Lane(
            ("caller ", Span("productpage-v1-65b96ccf8f-8mxlc", "name")),
            (
                Stage("The application calls reviews:9080", "10.96.149.201:9080", ("uid 1000", "DNS: reviews.classic")),
                Stage(
                    "Rules: OUTPUT",
                    (Span("redirected", "good"), " to port 15001"),
                    ("ISTIO_OUTPUT rule 9 sends it to ISTIO_REDIRECT",),
                    ("netns/iptables-save.txt:31  -A ISTIO_OUTPUT -j ISTIO_REDIRECT",),
                    "good",
                ),
                Stage(
                    "Envoy: route reviews",
                    "80 % v1, 20 % v3",
                    ("listener 0.0.0.0_9080", "cluster outbound|9080|v1|reviews.classic.svc.cluster.local"),
                    ("envoy/config_dump.json $.configs[4].dynamic_route_configs[7]",),
                    "warn",
                ),
            ),
        ),
        Lane(
            ("node ", Span("minikube", "name")),
            (Stage("kube-proxy: not used", "the proxy picked 172.17.0.9:9080 itself", (), ("nodes/minikube:1234",)),),
        ),
        Lane(
            ("callee ", Span("reviews-v1-7756f78fff-dmtc8", "name")),
            (
                Stage("Rules: PREROUTING", "redirected to port 15006", (), ("iptables-save.txt:22",), "good"),
                Stage("Envoy: inbound|9080||", "mTLS accepted", (), ("config_dump.json",), "good"),
                Stage("Nothing listens on 9080", "connection refused", (), ("sockets.txt",), "bad"),
            ),
        ),
    ),
    arrows=("connect()", "SO_ORIGINAL_DST 10.96.149.201:9080", "mTLS to 172.17.0.9:9080", "same node", "", "plain"),
)
EVERYTHING: tuple[Block, ...] = (
    Heading("Pod productpage-v1-65b96ccf8f-8mxlc", 1),
    Text(("In namespace ", Span("classic", "name"), ", on node ", Span("minikube", "name"), ". Istio 1.30.3.")),
    Facts((("Mode", "sidecar"), ("Revision", Span("default", "name")), ("Added", Span("istio-proxy", "added")))),
    Note("The proxy is older than the control plane", "warn", ("1.30.1 against 1.30.3", "restart the pod")),
    Note("Nothing is lost on the way", "good"),
    Note((Span("MC1001", "strong"), " The app listens on 127.0.0.1 only"), "bad", ("fix: listen on 0.0.0.0",)),
    Heading("What the injector added"),
    Text("One init container sets up the packet rules; one sidecar carries the traffic."),
    Table(
        (Column("Argument", wrap=False), Column("Value", right=True), Column("Meaning"), Column("Source", keep=0)),
        (
            (Span("-p", "code"), "15001", "the port to which outgoing TCP is sent", Span("istio-init", "dim")),
            (Span("-u", "code"), "1337", "the user whose traffic is left alone: the proxy's own", "istio-init"),
        ),
    ),
    Heading("As a tree", 3),
    Tree((Node("Pod", (Node(("container ", Span("istio-proxy", "added"))), Node("container app"))),)),
    Heading("Start order"),
    Timeline(
        (
            Bar("pause", 0.0, None, "the sandbox", "dim"),
            Bar("istio-init", 1.2, 2.4, "exit 0", "added"),
            Bar("istio-proxy", 2.6, None, "ready after 3.1 s", "added"),
            Bar("productpage", 2.9, None, ""),
        ),
        14.0,
    ),
    Heading("The rules"),
    Verbatim("-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT"),
    CHAINS,
    Heading("The way of a request"),
    PATH,
)
PAGE = Page("Pod productpage-v1-65b96ccf8f-8mxlc", EVERYTHING)
