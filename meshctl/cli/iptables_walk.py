"""``meshctl iptables walk``: a packet through the rules of a pod or of bare files. Registered by cli/iptables.py."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from meshctl import json_text
from meshctl.cli.options import Invocation, command, completer
from meshctl.cli.show import emit, say, show
from meshctl.errors import BadInput

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="POD", help="The pod; none with --rules. A `:PORT` belongs to --in.", autocompletion=completer("pods")
    ),
]
Out = Annotated[str | None, typer.Option("--out", metavar="DST[:PORT]", help="A packet that the pod sends.")]
In = Annotated[str | None, typer.Option("--in", metavar="[SRC]:PORT", help="A packet that comes to the pod.")]
Rules = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="FILE", help="Rules from a file: iptables-save, ip6tables-save or nft JSON."),
]
Family = Annotated[
    str | None, typer.Option("--family", metavar="ipv4|ipv6", help="The family of files that do not tell it.")
]
Addresses = Annotated[
    list[str] | None, typer.Option("--address", metavar="[IFACE=]IP", help="An address of the pod, with --rules.")
]
IpRule = Annotated[
    list[Path] | None, typer.Option("--ip-rule", metavar="FILE", help="`ip -j rule`; a second file is `ip -6 -j rule`.")
]
IpRoute = Annotated[
    list[Path] | None, typer.Option("--ip-route", metavar="FILE", help="`ip -j route show table all`, both families.")
]
IpAddress = Annotated[Path | None, typer.Option("--ip-address", metavar="FILE", help="`ip -j address`.")]
Packets = Annotated[
    str | None, typer.Option("--packets", metavar="FILE|-", help="Walk many packets: JSON lines in, JSON lines out.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    command(
        app,
        "walk",
        outputs=("text", "wide", "json", "yaml", "mermaid"),
        examples="  meshctl --demo iptables walk productpage --out 10.96.0.1:443\n"
        "  meshctl iptables walk productpage --in :9080\n"
        "  meshctl iptables walk --rules save.txt --address 172.17.0.7 --out 10.0.0.1:80 --uid 1337",
    )(walk)


def walk(
    call: Invocation,
    words: Words = None,
    out: Out = None,
    into: In = None,
    udp: Annotated[bool, typer.Option("--udp", help="UDP instead of TCP.")] = False,
    proto: Annotated[str | None, typer.Option("--proto", metavar="NAME", help="Another protocol, as icmp.")] = None,
    uid: Annotated[
        int | None, typer.Option("--uid", metavar="UID", min=0, max=0xFFFFFFFE, help="The sending socket's user.")
    ] = None,
    gid: Annotated[
        int | None, typer.Option("--gid", metavar="GID", min=0, max=0xFFFFFFFE, help="The sending socket's group.")
    ] = None,
    src: Annotated[str | None, typer.Option("--src", metavar="IP", help="The packet's source address.")] = None,
    sport: Annotated[int | None, typer.Option("--sport", metavar="PORT", help="The packet's source port.")] = None,
    oif: Annotated[str | None, typer.Option("--oif", metavar="IFACE", help="The interface that it leaves by.")] = None,
    iif: Annotated[str | None, typer.Option("--iif", metavar="IFACE", help="The interface it comes in on.")] = None,
    mark: Annotated[str, typer.Option("--mark", metavar="N", help="The packet's mark (SO_MARK).")] = "0",
    flags: Annotated[str | None, typer.Option("--flags", metavar="LIST", help="TCP flags, as RST or SYN,ACK.")] = None,
    ctstate: Annotated[
        str | None, typer.Option("--ctstate", metavar="STATE", help="What conntrack calls it, as established.")
    ] = None,
    rules: Rules = None,
    family: Family = None,
    address: Addresses = None,
    ip_rule: IpRule = None,
    ip_route: IpRoute = None,
    ip_address: IpAddress = None,
    packets: Packets = None,
) -> None:
    """Walk a packet through the rules as the kernel would, and say of each rule whether it matched and why.

    The verdict is accepted, redirected, tproxied, dropped, or undecided with the clause that cannot be judged.
    """
    from meshctl.gather.netns import RoutingFiles
    from meshctl.netfilter import question
    from meshctl.netfilter import walk as engine
    from meshctl.views import walk as view

    pod, into = _split(words or (), into)
    beside = RoutingFiles(tuple(address or ()), tuple(ip_rule or ()), tuple(ip_route or ()), ip_address)
    netns = _netns(call, pod, rules, family, beside)
    ready = engine.walker(netns.rulesets, netns.network)
    if packets is not None:
        _many(ready, packets)
        return
    details = question.Details(
        proto=proto or ("udp" if udp else "tcp"),
        uid=uid,
        gid=gid,
        src=src,
        sport=sport,
        interface=oif if out is not None else iif,
        mark=_mark(mark),
        flags=flags,
        ctstate=ctstate,
    )
    if (out is None) == (into is None):
        raise BadInput("say one of --out DST:PORT and --in :PORT (or --packets FILE)")
    asked = (
        question.outbound(out, details, netns.rulesets, netns.network)
        if out is not None
        else question.inbound(str(into), details, netns.network)
    )
    result = ready.walk(asked.packet)
    supposed = (*asked.supposed, *netns.network.assumed)
    wide, picture = call.output == "wide", call.output == "mermaid"
    show(
        call,
        lambda: view.document(result, supposed),
        lambda: view.page(result, supposed, wide=wide, picture=picture),
    )


def _split(words: Sequence[str], into: str | None) -> tuple[str | None, str | None]:
    """The pod's name, and ``--in SRC :PORT`` put together."""
    ports = [word for word in words if word.startswith(":")]
    names = [word for word in words if not word.startswith(":")]
    if len(names) > 1 or len(ports) > 1 or (ports and into is None):
        raise BadInput(f"too many words: {' '.join(words)}", hint="one POD, and --out DST:PORT or --in [SRC]:PORT")
    return (names[0] if names else None), (into or "") + ports[0] if ports else into


def _mark(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise BadInput(f"--mark {text} is not a number") from None


def _netns(call: Invocation, pod: str | None, rules: Sequence[Path] | None, family: str | None, beside: Any) -> Any:
    from meshctl.gather import netns

    if rules:
        if pod is not None:
            raise BadInput("a POD and --rules exclude each other")
        return netns.of_files(rules, _family(family), beside)
    from meshctl.gather import pods
    from meshctl.gather import rules as gather

    world = call.world()
    gathered = gather.for_walking(world, pods.one(world, pod, call.scope()))
    for broken in gathered.unread.values():
        say(f"note: left out: {broken}")
    return gathered


def _family(text: str | None) -> Literal["ipv4", "ipv6"] | None:
    match text:
        case None:
            return None
        case "ipv4" | "4" | "ip":
            return "ipv4"
        case "ipv6" | "6" | "ip6":
            return "ipv6"
        case _:
            raise BadInput(f"--family {text}: there are ipv4 and ipv6")


def _many(ready: Any, source: str) -> None:
    """One document a line, in the order of the packets."""
    from meshctl.netfilter import packet
    from meshctl.render.document import to_json_line
    from meshctl.views import walk as view

    for place, fields in _lines(source):
        result = ready.walk(packet.read(fields, place))
        emit(to_json_line(view.document(result)))


def _lines(source: str) -> Iterator[tuple[str, Any]]:
    from meshctl.gather.netns import file_text

    name = "stdin" if source == "-" else source
    for number, line in enumerate(file_text(Path(source)).splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json_text.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{name}:{number}: not JSON: {error.msg}") from None
        if not isinstance(fields, dict):
            raise BadInput(f"{name}:{number}: a packet is a JSON object")
        inner = fields.get("packet")
        yield f"{name}:{number}", inner if isinstance(inner, dict) else fields
