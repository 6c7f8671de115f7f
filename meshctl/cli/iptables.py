"""``meshctl iptables``: a pod's packet rules as they are, as they should be, and what differs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshctl.cli import iptables_walk, iptables_watch
from meshctl.cli.options import Invocation, command, completer, group
from meshctl.errors import BadInput, ExitCode, NotFound

if TYPE_CHECKING:
    from meshctl.gather.rules import Given, PodRules
    from meshctl.netfilter.dump import Dump
    from meshctl.netfilter.model import Family
    from meshctl.netfilter.wanted import Wanted
    from meshctl.views.drift import Compared

app = group("Show, explain, predict, compare and walk a pod's packet rules.")

PodArg = Annotated[
    str | None,
    typer.Argument(help="A pod, deploy/NAME or svc/NAME.", metavar="POD", autocompletion=completer("pods")),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="POD | -- istio-iptables ARGS", help="A pod, or bare arguments.", autocompletion=completer("pods")
    ),
]
Rules = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="FILE", help="Rules from a file: iptables-save, ip6tables-save or nft JSON."),
]
FamilyOption = Annotated[
    Literal["ipv4", "ipv6", "inet"] | None,
    typer.Option("--family", help="Only this family; also the family of a file that does not tell it."),
]
Release = Annotated[
    str | None, typer.Option("--istio", metavar="RELEASE", help="The release that writes the rules, e.g. 1.30.3.")
]
Env = Annotated[list[str] | None, typer.Option("--env", metavar="K=V", help="A variable of istio-init (repeatable).")]
Address = Annotated[list[str] | None, typer.Option("--address", metavar="IP", help="An address of the pod.")]
Resolver = Annotated[
    list[str] | None, typer.Option("--resolver", metavar="IP", help="A nameserver of the pod's /etc/resolv.conf.")
]
Group = Annotated[list[str] | None, typer.Option("--group", metavar="NAME=GID", help="The number of a group name.")]


# --- dump and explain --------------------------------------------------------------------------------------------


@command(
    app,
    "dump",
    outputs=("text", "wide", "json", "yaml", "mermaid", "svg", "html"),
    examples="  meshctl --demo iptables dump deploy/productpage-v1\n"
    "  sudo meshctl iptables dump --pid 4711 --table nat\n"
    "  meshctl iptables dump --rules iptables-save.txt --rules nft.json -o json",
)
def dump(
    call: Invocation,
    pod: PodArg = None,
    table: Annotated[str | None, typer.Option("--table", "-t", metavar="NAME", help="Only this table.")] = None,
    family: FamilyOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="The dumps themselves, byte for byte.")] = False,
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Read this process's network namespace (root).")
    ] = None,
    rules: Rules = None,
) -> None:
    """Show every rule with its counters, what it does, its role in Istio's scheme, and what asked for it."""
    found = _found(call, pod, pid, rules, family)
    if raw:
        _raw(found, table, family)
        return
    _show_dump(call, _dump(found), family, table, given=bool(rules))


@command(
    app,
    "explain",
    outputs=("text", "wide", "json", "yaml", "mermaid", "svg", "html"),
    examples="  iptables-save -c | meshctl iptables explain -",
)
def explain(
    call: Invocation,
    files: Annotated[list[Path], typer.Argument(metavar="FILE|-", help="iptables-save or nft JSON; - is stdin.")],
    table: Annotated[str | None, typer.Option("--table", "-t", metavar="NAME", help="Only this table.")] = None,
    family: FamilyOption = None,
) -> None:
    """Explain every rule of saved rulesets, wherever they are from."""
    from meshctl.gather import rules as gather

    _show_dump(call, _dump(gather.of_files(files, family)), family, table, given=True, places=True)


def _found(
    call: Invocation, pod: str | None, pid: int | None, rules: list[Path] | None, family: "Family | None"
) -> "PodRules":
    from meshctl.gather import pods
    from meshctl.gather import rules as gather

    if sum((pod is not None, pid is not None, bool(rules))) > 1:
        raise BadInput("POD, --pid and --rules exclude each other")
    if pid is not None:
        return gather.of_process(pid)
    if rules:
        return gather.of_files(rules, family)
    world = call.world()
    found = gather.of_pod(world, pods.one(world, pod, call.scope()), predict=False)
    gather.refuse_denied(found)
    return found


def _dump(found: "PodRules") -> "Dump":
    from meshctl.netfilter.dump import Dump

    wanted = found.wanted
    return Dump(
        found.title,
        found.rulesets,
        None if found.pod is None else (found.pod.namespace, found.pod.name),
        wanted.capture if wanted else None,
        wanted.reason if wanted else "",
        wanted.told.sentence if wanted and wanted.capture else "",
        found.netns.gaps if not found.recorded else tuple(found.netns.unread.values()),
        (wanted.problem,) if wanted and wanted.problem else (),
        captured=wanted is None or wanted.capture is not None or bool(wanted.problem),
    )


def _show_dump(
    call: Invocation, whole: "Dump", family: "Family | None", table: str | None, *, given: bool, places: bool = False
) -> None:
    from meshctl.cli.show import show
    from meshctl.netfilter.dump import selected
    from meshctl.views import rules as view

    # With bare files --family may have been needed to read them; then it does not select.
    chosen = selected(whole, None if given and family and len(whole.rulesets) < 2 else family, table)
    if table is not None and whole.rulesets and not chosen.rulesets:
        there = sorted({t.name for ruleset in whole.rulesets for t in ruleset.tables})
        raise NotFound(f"there is no table '{table}' here", hint=f"there are: {', '.join(there)}")
    show(call, lambda: view.document(chosen), lambda: view.page_for(call.output, chosen, places=places))


def _raw(found: "PodRules", table: str | None, family: "Family | None") -> None:
    from meshctl.gather.rules import raw_dumps

    if table is not None:
        raise BadInput("--raw shows whole dumps; --table does not go with it")
    contents = raw_dumps(found, family)
    if not contents:
        raise NotFound(
            f"no rules of {found.title} are recorded",
            hint="record them with `meshctl snapshot record`, or read them on the node with --pid",
        )
    sys.stdout.flush()
    for content in contents:
        sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


# --- expect ------------------------------------------------------------------------------------------------------


@command(
    app,
    "expect",
    outputs=("text", "iptables", "nft", "explained", "json", "yaml", "mermaid", "svg", "html"),
    examples="  meshctl --demo iptables expect deploy/productpage-v1\n"
    "  meshctl iptables expect --istio 1.12.1 --address 10.0.0.7 -- istio-iptables -p 15001 -z 15006 -u 1337 \\\n"
    "    -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020",
)
def expect(
    call: Invocation,
    words: Words = None,
    istio: Release = None,
    env: Env = None,
    address: Address = None,
    resolver: Resolver = None,
    group: Group = None,
    family: FamilyOption = None,
    node: Annotated[bool, typer.Option("--node", help="The rules that ambient has on the pod's node instead.")] = False,
) -> None:
    """Predict the exact rules that a pod, or bare arguments, ask for, as its backend would save them.

    What had to be assumed, and whether the release is verified, is said on stderr.
    """
    from meshctl.cli.show import emit, say

    wanted, title, pod = _wanted(call, words, _given(istio, env, address, resolver, group))
    if wanted.problem or wanted.expected is None:
        raise BadInput(f"{wanted.reason}: {wanted.problem}")
    if node:
        from meshctl.netfilter.wanted import on_node

        wanted, title = on_node(wanted), f"node of {title}"
    assert wanted.expected is not None
    if call.output in ("text", "iptables", "nft"):
        from meshctl.gather.rules import spelled

        say(f"note: {wanted.told.sentence}; {wanted.reason}")
        for note in wanted.notes:
            say(f"note: {note}")
        emit(spelled(wanted, call.output, family))
        return
    from meshctl.netfilter.dump import Dump

    expected = Dump(
        f"{title}, expected", wanted.expected.rulesets, pod, wanted.capture, wanted.reason, wanted.told.sentence,
        notes=wanted.notes, captured=wanted.capture is not None,
    )  # fmt: skip
    _show_dump(call, expected, family, None, given=False)


def _wanted(call: Invocation, words: list[str] | None, given: "Given") -> "tuple[Wanted, str, tuple[str, str] | None]":
    from meshctl.gather import pods
    from meshctl.gather import rules as gather

    pod, args = _split(words)
    if args is not None:
        return gather.of_arguments(args, given), "the given arguments", None
    world = call.world()
    found = pods.one(world, pod, call.scope())
    rules = gather.of_pod(world, found, given)
    assert rules.wanted is not None
    return rules.wanted, rules.title, (found.namespace, found.name)


def _given(
    release: str | None,
    env: list[str] | None,
    address: list[str] | None,
    resolver: list[str] | None,
    group: list[str] | None,
) -> "Given":
    from meshctl.gather.rules import Given

    return Given(release, tuple(env or ()), tuple(address or ()), tuple(resolver or ()), tuple(group or ()))


def _split(words: list[str] | None) -> tuple[str | None, list[str] | None]:
    """A pod's name, or the words of an `istio-iptables` command."""
    if not words:
        return None, None
    if words[0].rpartition("/")[2] in ("istio-iptables", "pilot-agent") or words[0].startswith("-"):
        return None, words
    if len(words) > 1:
        raise BadInput(
            f"one POD, or an istio-iptables command after --; not: {' '.join(words)}",
            hint="meshctl iptables expect -- istio-iptables -p 15001 ...",
        )
    return words[0], None


# --- diff --------------------------------------------------------------------------------------------------------


@command(
    app,
    "diff",
    outputs=("text", "json", "yaml"),
    examples="  meshctl iptables diff deploy/productpage-v1\n"
    "  meshctl iptables diff -A\n"
    "  meshctl iptables diff --rules save.txt --istio 1.30 -- istio-iptables -p 15001 -z 15006 -u 1337 -i '*' -b '*'",
)
def diff(
    call: Invocation,
    words: Words = None,
    every: Annotated[bool, typer.Option("--all", help="Every pod of the namespace, one line each.")] = False,
    rules: Rules = None,
    istio: Release = None,
    env: Env = None,
    address: Address = None,
    resolver: Resolver = None,
    group: Group = None,
    family: FamilyOption = None,
) -> None:
    """Compare a pod's rules with those its arguments ask for: every difference with its effect on traffic.

    Without a pod, with --all, -A or -n: every pod, one line each, worst first. Exit 10 where rules differ.
    """
    from meshctl.cli.show import show
    from meshctl.gather import rules as gather
    from meshctl.views import drift as view

    given = _given(istio, env, address, resolver, group)
    pod, args = _split(words)
    if rules:
        if pod is not None or args is None:
            raise BadInput(
                "--rules needs the arguments that the rules are for",
                hint="meshctl iptables diff --rules FILE --istio 1.30 -- istio-iptables -p 15001 ...",
            )
        results = [_compared(gather.of_files_against(rules, family, args, given))]
    elif args is not None:
        raise BadInput("bare arguments need the rules to compare with", hint="add --rules FILE")
    else:
        many = every or call.all_namespaces or call.selector or (pod is None and call.namespace)
        if many or pod is None:
            results = _every(call, pod, given)
            code = ExitCode.FINDINGS if any(one.drifted for one in results) else ExitCode.OK
            show(call, lambda: view.documents(results), lambda: view.pages(results), code=code)
            return
        results = [_one(call, pod, given)]
    code = ExitCode.FINDINGS if results[0].drifted else ExitCode.OK
    show(call, lambda: view.document(results[0]), lambda: view.page(results[0]), code=code)


def _one(call: Invocation, pod: str | None, given: "Given") -> "Compared":
    from meshctl.gather import pods
    from meshctl.gather import rules as gather

    world = call.world()
    found = pods.one(world, pod, call.scope())
    return _compared(gather.of_pod(world, found, given))


def _every(call: Invocation, pod: str | None, given: "Given") -> "list[Compared]":
    from meshctl.gather import pods
    from meshctl.gather import rules as gather

    world = call.world()
    found = pods.many(world, pod, call.scope())
    return [_compared(gather.of_pod(world, one, given)) for one in found]


def _compared(found: "PodRules") -> "Compared":
    from meshctl.gather.rules import drift_of
    from meshctl.views.drift import Compared

    pod = None if found.pod is None else (found.pod.namespace, found.pod.name)
    gap = ""
    if found.wanted is not None and found.wanted.problem:
        gap = f"{found.wanted.reason}: {found.wanted.problem}"
    elif lacking := found.lacking:
        gap = f"the {lacking} are not recorded"
        if found.netns.unread:
            gap = "; ".join((f"the {lacking} cannot be compared", *found.netns.unread.values()))
    elif found.pod is not None and found.pod.host_network:
        gap = "hostNetwork: these are the node's rules, which Istio does not write"
    drift = None if gap else drift_of(found)
    unread = () if gap else tuple(found.netns.unread.values())
    return Compared(found.title, pod, found.wanted, drift, gap, unread, found.unseen)


iptables_walk.register(app)
iptables_watch.register(app)
