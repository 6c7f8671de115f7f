"""The page for ``describe pod -o html``: how a pod's traffic comes to pass through its proxy, told from start to end.

Injection, the init container and its rules, processes and namespaces, the start order, the path of a request; every
sentence with this pod's own values. A part whose source was not recorded says so and is left out.
"""

from collections.abc import Iterator, Sequence

from meshctl.blocks import (
    Block,
    Column,
    Edge,
    Graph,
    Heading,
    Line,
    Note,
    Page,
    Span,
    Table,
    Text,
    Verbatim,
    Vertex,
)
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.effects import app_ports
from meshctl.kube.containers import Port
from meshctl.kube.runtime import Process
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.explain import explain
from meshctl.netfilter.model import Ruleset
from meshctl.views import pod as pod_view
from meshctl.views import rules as rules_view
from meshctl.views import standing as standing_view
from meshctl.views.pod_capture import capture_blocks, rules_note
from meshctl.views.pod_changes import changes_blocks
from meshctl.views.pod_containers import container_blocks
from meshctl.views.pod_decision import decision_blocks
from meshctl.views.pod_gaps import closing
from meshctl.views.pod_services import services_blocks
from meshctl.views.pod_start import start_blocks
from meshctl.words import show_address


def page(it: Evidence, findings: Sequence[Finding]) -> Page:
    """The whole story of one pod."""
    blocks: list[Block] = [*_opening(it), *_facts(it)]
    blocks += pod_view.findings_blocks(findings, every=True)
    chapters = [list(told(it)) for told in (_injection, _init, _rules, _processes, _start, _path, _now)]
    for number, (title, *rest) in enumerate(filter(None, chapters), 1):
        blocks += [_numbered(number, title), *rest]
    blocks += closing(it)
    return Page(f"How the traffic of {_name(it)} passes through the mesh", tuple(blocks))


def _numbered(number: int, title: Block) -> Block:
    """A chapter's title with its number: chapters that have nothing to tell are left out, and leave no gap."""
    return Heading(f"{number}. {title.text}", title.level) if isinstance(title, Heading) else title


def _name(it: Evidence) -> str:
    return it.pod.template_of or it.pod.name


def _apps(it: Evidence) -> list[str]:
    return [c.name for c in it.pod.app_containers if c.name not in it.description.injection.ours]


def _opening(it: Evidence) -> Iterator[Block]:
    mode, proxy = it.description.injection.mode, it.description.injection.proxy
    yield Heading(f"How the traffic of {_name(it)} passes through the mesh", 1)
    app = ", ".join(_apps(it)) or "the pod"
    if mode in ("sidecar", "native-sidecar") and proxy is not None:
        yield Text(
            f"The application {app} knows nothing of the mesh: it opens ordinary connections and takes them. {_yet(it)}"
        )
    elif mode == "ambient":
        yield Text(
            f"The application {app} knows nothing of the mesh, and there is no proxy in its pod: the node sends its "
            "connections to ztunnel, a proxy that all pods of the node share. This page shows what was seen of this "
            "pod."
        )
    else:
        yield Text("This page shows what the pod is made of, and what was seen of it.")


def _yet(it: Evidence) -> str:
    """What becomes of the connections, as far as it holds for this pod."""
    proxy, capture = it.description.injection.proxy, it.description.capture
    name = proxy.name if proxy is not None else "the proxy"
    does = f"{name}, a proxy (Envoy) in the same pod, which encrypts, routes and measures"
    end = "This page shows how that comes about, step by step, with what was seen of this pod."
    if standing_view.broken_rules(it):
        return f"They should pass through {does}; but the rules that see to it are not as they should be (MC301)."
    if capture is None or capture.mode == "NONE":
        return f"Beside it runs {does}. Whether its connections pass through there is told below."
    whole = capture.include_inbound_ports == "*" and capture.include_outbound_ranges == "*"
    left_out = capture.exclude_outbound_ranges or capture.exclude_outbound_ports
    if whole and not left_out and all(standing_view.captured(it, p.number) for p in _ports(it)):
        return f"Yet each TCP connection passes through {does}. {end}"
    return f"Yet those that are captured pass through {does}. {end}"


def _ports(it: Evidence) -> list[Port]:
    return [p for c in it.pod.app_containers if c.name not in it.description.injection.ours for p in c.ports]


def _facts(it: Evidence) -> Iterator[Block]:
    """Who the pod is; the page has its own title."""
    yield from (block for block in pod_view.head(it.description) if not isinstance(block, Heading))


def _injection(it: Evidence) -> Iterator[Block]:
    result = it.description
    yield Heading("Injection: what was written and what runs")
    apps, ours = _apps(it), sorted(result.injection.ours)
    if result.injection.receipt is not None:
        theirs = [c.name for c in it.pod.containers if c.name not in ours]
        yield Text(
            f"Whoever wrote the manifest asked for {', '.join(theirs) or 'no container of their own'}. When the pod "
            "was made, the Kubernetes API server asked the mesh's injector (a webhook: a program that may change an "
            f"object before it is stored), and that added {', '.join(ours)}, their volumes and a few annotations."
        )
        yield _containers_graph(it)
    elif it.ambient is not None and it.ambient.redirected:
        yield Text("The injector added nothing to this pod; istio-cni marked it when it took it over.")
    elif result.planned is not None:
        yield Text("This is what a user wrote. The injector adds its part when a pod is made from it:")
    elif apps:
        yield Text("The injector added nothing to this pod.")
    yield from pod_view.added_blocks(result)
    yield Heading("Why", 3)
    yield from decision_blocks(result)
    yield from changes_blocks(result)


def _containers_graph(it: Evidence) -> Graph:
    holds = "in the node's network" if it.pod.host_network else "holds the network namespace"
    vertices = [Vertex("pause", "pause", (holds,), "round", "pod")]
    edges = []
    for story in it.description.containers:
        kind = "added by the mesh" if story.by_mesh else "the user's"
        vertices.append(Vertex(story.container.name, story.container.name, (story.kind, kind), "box", "pod"))
        edges.append(Edge("pause", story.container.name, "same network", "dim"))
    whose = "the node" if it.pod.host_network else "pause"
    return Graph(tuple(vertices), tuple(edges), f"Containers of the pod; all share the network of {whose}")


def _init(it: Evidence) -> Iterator[Block]:
    init = it.description.injection.init
    if init is None:
        return
    yield Heading(f"{init.name}: from arguments to rules")
    story = it.description.story(init.name)
    if it.description.injection.cni:
        yield Text(
            f"{init.name} writes no rules itself: the CNI plugin of the node (the program that makes a pod's network) "
            "wrote them before any container was started. It only checks that they work. Its arguments say what is "
            "asked for:"
        )
    else:
        yield Text(
            f"{init.name} runs before the application, as root and with the right to change the network (NET_ADMIN), "
            f"but only inside the pod's network namespace. It writes packet rules ({_writer(it)}) into the kernel, and "
            "ends. Its arguments say which:"
        )
    if story is not None:
        yield Verbatim(" ".join(a if a else '""' for a in init.args))
        yield from container_blocks(story, wide=False)
    yield from capture_blocks(it.description)
    yield from rules_note(it)


def _writer(it: Evidence) -> str:
    capture = it.description.capture
    return "nftables" if capture is not None and capture.native_nftables else "iptables"


def _rules(it: Evidence) -> Iterator[Block]:
    rulesets = [r for r in it.rulesets if any(c.rules for t in r.tables for c in t.chains)]
    if not rulesets:
        if it.description.injection.init is not None:
            yield Heading("The rules")
            said = "there is no rule in this pod's network namespace: nothing is captured"
            if not it.rulesets:
                said = "the rules of this pod were not recorded; `meshctl iptables expect` tells what they should be"
            yield Note(said, "warn" if it.rulesets else "info")
        return
    yield Heading("The rules in the kernel")
    jump = "jump" if all(r.backend == "nftables" for r in rulesets) else "-j"
    yield Text(
        "Rules stand in chains. A packet that arrives begins in PREROUTING, one that a program of the pod sends "
        f"begins in OUTPUT; a rule may send it to another chain ({jump}). In the table nat only the first packet of a "
        "connection is looked at: the kernel remembers the answer for the rest."
    )
    for ruleset in rulesets:
        yield from _ruleset(it, ruleset)


def _ruleset(it: Evidence, ruleset: Ruleset) -> Iterator[Block]:
    yield Heading(rules_view.named(ruleset), 3)
    rows: list[tuple[Line, ...]] = [
        (
            f"{e.table.name} {e.chain.name}",
            str(e.number),
            Span(rules_view.words_of(e), "code"),
            e.told.meaning,
        )
        for e in explain(ruleset, it.description.capture)
    ]
    columns = (Column("chain", keep=5), Column("", right=True), Column("rule", keep=8), Column("meaning"))
    yield Table(columns, tuple(rows))


def _processes(it: Evidence) -> Iterator[Block]:
    clues = it.description.subject.clues
    if not clues.processes:
        return
    yield Heading("Processes and namespaces")
    yield Text(
        "A container is a process with its own view of the system. The containers of a pod have files of their own "
        "each, but one network namespace together: the same addresses, ports and packet rules. "
        + (
            "With hostNetwork it is the node's, so rules that one container writes hold for the whole node."
            if it.pod.host_network
            else "That is why rules which one container writes hold for all."
        )
    )
    rows = tuple(_process_row(it, p) for p in sorted(clues.processes, key=lambda p: (p.start_ticks or 0, p.pid)))
    columns = (
        Column("PID", right=True),
        Column("program", keep=8),
        Column("container"),
        Column("user"),
        Column("started"),
    )
    yield Table(columns, rows)


def _process_row(it: Evidence, process: Process) -> tuple[Line, ...]:
    clues = it.description.subject.clues
    first = min((p.start_ticks for p in clues.processes if p.start_ticks is not None), default=0)
    names = {r.id: r.container for r in clues.runs}
    if clues.sandbox is not None:
        names[clues.sandbox.id] = "pause"
    after = f"{(process.start_ticks - first) / 100:.2f} s" if process.start_ticks is not None else ""
    ours = names.get(process.container_id, "") in it.description.injection.ours
    name = Span(names.get(process.container_id, "?"), "added" if ours else "name")
    return (str(process.pid), process.name, name, process.uid, after)


def _start(it: Evidence) -> Iterator[Block]:
    yield Heading("What starts first")
    yield from start_blocks(it.description)


def _path(it: Evidence) -> Iterator[Block]:
    capture, proxy = it.description.capture, it.description.injection.proxy
    if capture is None or proxy is None:
        return
    yield Heading("The path of a request")
    ports = app_ports(it.pod, it.description.injection)
    address = it.pod.ip or "the pod's address"
    app = ", ".join(_apps(it)) or "the application"
    port = str(ports[0].number) if ports else "its port"
    yield from rules_note(it)
    yield Heading("Someone calls the application", 3)
    if ports and not standing_view.captured(it, ports[0].number):
        yield Text(
            f"Port {port} is not captured: a request for {show_address(address, port)} reaches {app} without the proxy."
        )
    else:
        yield from _incoming(capture, proxy.name, app, address, port)
    yield from _outgoing(capture, proxy.name, app)


def _incoming(capture: Capture, proxy: str, app: str, address: str, port: str) -> Iterator[Block]:
    yield Text(
        f"A request for {show_address(address, port)} (incoming ports that are captured: "
        f"{_listed(capture.include_inbound_ports, capture.exclude_inbound_ports)}):"
    )
    yield Graph(
        (
            Vertex("caller", "the caller"),
            Vertex("pre", "kernel: PREROUTING", (f"port {port} -> {capture.inbound_port}",)),
            Vertex("in", proxy, (f"listens on {capture.inbound_port}", "checks certificate and policies")),
            Vertex("app", app, (f"port {port}",), "round"),
        ),
        (
            Edge("caller", "pre", show_address(address, port)),
            Edge("pre", "in", "redirected" if not capture.tproxy else "handed over, addresses kept"),
            Edge("in", "app", "from 127.0.0.6" if not capture.tproxy else "from the caller's address"),
        ),
        "Incoming",
    )


def _listed(included: str, excluded: str) -> str:
    said = {"*": "all", "": "none"}.get(included.strip(), included.replace(",", ", "))
    return f"{said} but {excluded.replace(',', ', ')}" if included.strip() and excluded.strip() else said


def _outgoing(capture: Capture, proxy: str, app: str) -> Iterator[Block]:
    yield Heading("The application calls someone", 3)
    if not capture.include_outbound_ranges.strip() and not capture.include_outbound_ports.strip():
        yield Text(f"Nothing that {app} sends is captured: its connections leave the pod without the proxy.")
        return
    yield Text(
        f"A request of {app} for another service (destinations that are captured: "
        f"{_listed(capture.include_outbound_ranges, capture.exclude_outbound_ranges)}). The proxy runs as user "
        f"{capture.proxy_uids}, and the rules let that user through: otherwise its own connections would come back to "
        "it for ever."
    )
    yield Graph(
        (
            Vertex("app", app, (), "round"),
            Vertex("out", "kernel: OUTPUT", (f"any port -> {capture.outbound_port}",)),
            Vertex("proxy", proxy, (f"listens on {capture.outbound_port}", "chooses a pod by name and routes")),
            Vertex("callee", "the pod that was chosen"),
        ),
        (
            Edge("app", "out", "to the service's address"),
            Edge("out", "proxy", "redirected"),
            Edge("proxy", "callee", f"as user {capture.proxy_uids}: not captured"),
        ),
        "Outgoing",
    )
    yield Note(
        "The proxy chooses the pod itself from the list that istiod (the control plane) sends. kube-proxy's rules, "
        "which choose a pod for a Service's address, are not used on this way: `meshctl trace` shows it for a given "
        "request."
    )


def _now(it: Evidence) -> Iterator[Block]:
    found = list(standing_view.blocks(it))
    services = list(services_blocks(it.description))
    if found or services:
        yield Heading("The pod now")
    for block in (*services, *found):
        yield Heading(block.text, 3) if isinstance(block, Heading) else block
    proxy = it.description.injection.proxy
    story = it.description.story(proxy.name) if proxy is not None else None
    if story is not None and proxy is not None:
        yield Heading(f"Everything about {proxy.name}", 3)
        yield from container_blocks(story, wide=True)
