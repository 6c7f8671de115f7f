"""``filter_chain_matcher``: a tree that names the filter chain, as waypoints have it.

Source: xds/type/matcher/v3/matcher.proto; Envoy evaluates it instead of the chains' own ``filter_chain_match``.
"""

from meshctl.envoy import ip
from meshctl.envoy.filter_chain import Connection
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.listeners import ChainName, MatchNode, MatchTree
from meshctl.envoy.reading import Json, type_name, typed

_INPUTS = {
    "DestinationIPInput": "destination address",
    "DestinationPortInput": "destination port",
    "SourceIPInput": "source address",
    "DirectSourceIPInput": "source address",
    "SourcePortInput": "source port",
    "ServerNameInput": "server name",
    "TransportProtocolInput": "transport",
    "ApplicationProtocolInput": "application protocol",
}


def parse(message: Json) -> MatchNode:
    """Read a ``Matcher``; a kind of node that meshctl does not know is opaque."""
    otherwise = _on_match(message.below("on_no_match")) if message.has("on_no_match") else None
    if not message.has("matcher_tree"):
        return Opaque(", ".join(sorted(message.raw)) or "an empty matcher", message.origin)
    tree = message.below("matcher_tree")
    kind = type_name(tree.below("input").below("typed_config")).rpartition(".")[2]
    if kind not in _INPUTS:
        return Opaque(f"the input {kind or 'without a type'}", tree.origin)
    if tree.has("exact_match_map"):
        exact = {key: _on_match(each) for key, each in tree.below("exact_match_map").map("map")}
        return MatchTree(_INPUTS[kind], exact, (), otherwise)
    custom = typed(tree.below("custom_match").below("typed_config"))
    if not custom.has("range_matchers"):
        return Opaque("a kind of matcher tree", tree.origin)
    ranges = []
    for each in custom.each("range_matchers"):
        node = _on_match(each.below("on_match"))
        cidrs = tuple(f"{r.text('address_prefix')}/{r.whole('prefix_len')}" for r in each.each("ranges"))
        ranges.append((cidrs, node))
    return MatchTree(_INPUTS[kind], {}, tuple(ranges), otherwise)


def _on_match(message: Json) -> MatchNode:
    if message.has("matcher"):
        return parse(message.below("matcher"))
    action = message.below("action")
    value = typed(action.below("typed_config")).text("value")
    return ChainName(value or action.text("name"))


def evaluate(node: MatchNode, connection: Connection) -> str | Opaque | None:
    """The chain's name, None where nothing matches, Opaque where it cannot be told."""
    match node:
        case ChainName(name):
            return name
        case Opaque():
            return node
        case MatchTree():
            return _tree(node, connection)


def _tree(tree: MatchTree, connection: Connection) -> str | Opaque | None:
    value = _value(tree.input, connection)
    if value is None:
        return Opaque(f"the {tree.input}, which is not known here")
    if value in tree.exact:
        found = evaluate(tree.exact[value], connection)
        if found is not None:
            return found
    fits = [(length, node) for cidrs, node in tree.ranges if (length := ip.longest(value, cidrs)) is not None]
    for _, node in sorted(fits, key=lambda each: -each[0]):
        found = evaluate(node, connection)
        if found is not None:
            return found
    return evaluate(tree.otherwise, connection) if tree.otherwise is not None else None


def _value(name: str, connection: Connection) -> str | None:
    match name:
        case "destination address":
            return connection.address
        case "destination port":
            return str(connection.port)
        case "source address":
            return connection.source
        case "source port":
            return None if connection.source_port is None else str(connection.source_port)
        case "server name":
            return connection.server_name
        case "transport":
            return connection.transport
        case _:
            # Envoy's input is a quoted list: 'h2','http/1.1' (ApplicationProtocolInput).
            protocols = connection.protocols
            return None if protocols is None else ",".join(f"'{protocol}'" for protocol in protocols)
