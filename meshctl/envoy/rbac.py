"""Role-based access control: read the rules, and judge a request by them.

Source: Envoy, config/rbac/v3/rbac.proto and ``source/extensions/filters/common/rbac``; policy names as
pilot/pkg/security/authz/builder writes them (Istio 1.12 to 1.30). Istio makes one filter for DENY, one for ALLOW.
"""

from collections.abc import Callable, Iterable, Mapping

from meshctl.envoy import ip, metadata_match, strings
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import Policy, PolicyRef, Rbac, Rule, Rules
from meshctl.envoy.model.matching import MetadataMatch, NamedMatch, StringMatch
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass

_PEER_PRINCIPAL = "io.istio.peer_principal"


def config(message: Json) -> Rbac:
    """Read an RBAC filter's configuration, HTTP or network."""
    return Rbac(
        rules=_rules(message, "rules", "matcher"),
        shadow=_rules(message, "shadow_rules", "shadow_matcher"),
        shadow_prefix=message.text("shadow_rules_stat_prefix"),
    )


def _rules(message: Json, key: str, matcher: str) -> Rules | None:
    if message.has(matcher):
        return Rules("ALLOW", (), Opaque(f"an RBAC {matcher} tree", message.below(matcher).origin))
    if not message.has(key):
        return None
    rules = message.below(key)
    action = rules.choice("action", "ALLOW", "ALLOW", "DENY", "LOG")
    policies = sorted((_policy(name, each) for name, each in rules.map("policies")), key=lambda p: p.name)
    if action not in ("ALLOW", "DENY", "LOG"):
        return Rules("ALLOW", tuple(policies), Opaque(f"the action {action}", rules.origin))
    return Rules(action, tuple(policies))  # type: ignore[arg-type]


def _policy(name: str, message: Json) -> Policy:
    condition = next((k for k in ("condition", "checked_condition") if message.has(k)), None)
    return Policy(
        name=name,
        permissions=tuple(_rule(p) for p in message.each("permissions")),
        principals=tuple(_rule(p) for p in message.each("principals")),
        condition=Opaque("a CEL condition", message.below(condition).origin) if condition else None,
        ref=policy_ref(name),
        origin=message.origin,
    )


def policy_ref(name: str) -> PolicyRef | None:
    """The AuthorizationPolicy in a name like ``ns[foo]-policy[httpbin]-rule[0]``; None for other names."""
    if not name.startswith("ns[") or not name.endswith("]"):
        return None
    namespace, found, rest = name[3:-1].partition("]-policy[")
    policy, ruled, rule = rest.partition("]-rule[")
    if not found:
        return None
    return PolicyRef(namespace, policy, int(rule) if ruled and rule.isdecimal() else None)


def _rule(message: Json) -> Rule:
    for kind, key, inner in _GROUPS:
        if message.has(key):
            return Rule(kind, tuple(_rule(part) for part in message.below(key).each(inner)))
    for key in ("not_rule", "not_id"):
        if message.has(key):
            return Rule("not", (_rule(message.below(key)),))
    for key, read in _LEAVES.items():
        if message.has(key):
            return read(message, key)
    return Rule("unknown", text=", ".join(sorted(message.raw)) or "an empty rule")


_GROUPS = (
    ("and", "and_rules", "rules"),
    ("or", "or_rules", "rules"),
    ("and", "and_ids", "ids"),
    ("or", "or_ids", "ids"),
)


def _any(message: Json, key: str) -> Rule:
    return Rule("any") if message.flag(key) else Rule("not", (Rule("any"),))


def _cidr(message: Json, key: str) -> Rule:
    prefix = message.below(key)
    return Rule(key, text=f"{prefix.text('address_prefix')}/{prefix.whole('prefix_len')}")


def _path(message: Json, key: str) -> Rule:
    return Rule("path", match=strings.string_match(message.below(key).below("path")))


def _template(message: Json, key: str) -> Rule:
    return Rule("template", text=message.below(key).below("typed_config").text("path_template"))


def _authenticated(message: Json, key: str) -> Rule:
    name = message.below(key).below("principal_name")
    return Rule("principal", match=strings.string_match(name) if name else None)


def _port(message: Json, key: str) -> Rule:
    port = message.whole(key)
    return Rule("port", number=(port, port + 1))


def _ports(message: Json, key: str) -> Rule:
    span = message.below(key)
    return Rule("port", number=(span.whole("start"), span.whole("end")))


def _filter_state(message: Json, key: str) -> Rule:
    state = message.below(key)
    if state.text("key") == _PEER_PRINCIPAL and state.has("string_match"):
        return Rule("principal", match=strings.string_match(state.below("string_match")))
    return Rule("unknown", text=f"filter state {state.text('key')}")


def _metadata(message: Json, key: str) -> Rule:
    matcher = message.below(key)
    if key == "sourced_metadata":
        if matcher.choice("metadata_source", "DYNAMIC", "DYNAMIC", "ROUTE") != "DYNAMIC":
            return Rule("unknown", text="the route's metadata")
        matcher = matcher.below("metadata_matcher")
    return Rule("metadata", match=metadata_match.parse(matcher))


_LEAVES: Mapping[str, Callable[[Json, str], Rule]] = {
    "any": _any,
    "header": lambda message, key: Rule("header", match=strings.header_match(message.below(key))),
    "url_path": _path,
    "uri_template": _template,
    "destination_ip": _cidr,
    "source_ip": _cidr,
    "direct_remote_ip": _cidr,
    "remote_ip": _cidr,
    "destination_port": _port,
    "destination_port_range": _ports,
    "requested_server_name": lambda m, key: Rule("sni", match=strings.string_match(m.below(key))),
    "authenticated": _authenticated,
    "filter_state": _filter_state,
    "metadata": _metadata,
    "sourced_metadata": _metadata,
}


# --- judging --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """A request and the dynamic metadata that earlier filters left; `metadata` None is not known."""

    request: Request
    metadata: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the rules let a request pass (None: cannot be told), the policy that decided, and what is missing."""

    allowed: bool | None
    policy: Policy | None
    because: str


def judge(rules: Rules, facts: Facts) -> Judgement:
    """Apply rules: DENY refuses what a policy matches, ALLOW refuses what none does."""
    if rules.opaque is not None:
        return Judgement(None, None, f"{rules.opaque.text} is not modelled")
    verdicts = [(policy, policy_holds(policy, facts)) for policy in rules.policies]
    sure = next((policy for policy, verdict in verdicts if verdict), None)
    if sure is not None:
        return Judgement(rules.action != "DENY", sure, _matched(rules, sure))
    unsure = [f"{p.ref or p.name} depends on {_open(p, facts)}" for p, verdict in verdicts if verdict is None]
    if unsure and rules.action != "LOG":
        return Judgement(None, None, "; ".join(unsure))
    return Judgement(rules.action != "ALLOW", None, _none(rules))


def _none(rules: Rules) -> str:
    """Why rules of which no policy matches decide as they do: by the policies that they are made of."""
    names = dict.fromkeys(f"{ref.name}.{ref.namespace}" for each in rules.policies if (ref := each.ref) is not None)
    if rules.action != "ALLOW" or not names:
        return f"no {rules.action} policy matches"
    return f"no rule of AuthorizationPolicy {' or '.join(names)} allows it"


def _matched(rules: Rules, policy: Policy) -> str:
    return f"{policy.ref or policy.name} matches, and its action is {rules.action}"


def policy_holds(policy: Policy, facts: Facts) -> bool | None:
    """Whether a policy matches a request; None where that cannot be told."""
    parts = (
        any_of(rule_holds(rule, facts) for rule in policy.permissions),
        any_of(rule_holds(rule, facts) for rule in policy.principals),
        None if policy.condition else True,
    )
    return all_of(parts)


def any_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether one holds; None where none is sure to and one may."""
    found = list(verdicts)
    return True if True in found else None if None in found else False


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all hold; None where none is sure not to and one may not."""
    found = list(verdicts)
    return False if False in found else None if None in found else True


def rule_holds(rule: Rule, facts: Facts) -> bool | None:
    """Whether one rule of a policy holds; None where that cannot be told."""
    request = facts.request
    match rule.kind:
        case "and":
            return all_of(rule_holds(part, facts) for part in rule.parts)
        case "or":
            return any_of(rule_holds(part, facts) for part in rule.parts)
        case "not":
            inner = rule_holds(rule.parts[0], facts)
            return None if inner is None else not inner
        case "any":
            return True
        case "port":
            return rule.number[0] <= request.port < rule.number[1]
        case "destination_ip":
            return ip.within(request.address, rule.text)
        case "source_ip" | "direct_remote_ip":
            return None if request.source is None else ip.within(request.source, rule.text)
        case "remote_ip":
            return None if request.remote is None else ip.within(request.remote, rule.text)
        case "template":
            return strings.template_matches(rule.text, request.bare_path) if request.http else False
        case "principal":
            return _principal_holds(rule.match, request)
        case _:
            return _match_holds(rule, facts)


def _match_holds(rule: Rule, facts: Facts) -> bool | None:
    request = facts.request
    match rule.match:
        case NamedMatch() as header:
            return request.header_holds(header, policies=True)
        case StringMatch() as text if rule.kind == "path":
            return strings.holds(text, request.bare_path) if request.http else False
        case StringMatch() as text if rule.kind == "sni":
            return strings.holds(text, request.server_name)
        case MetadataMatch() as metadata:
            return metadata_match.holds(metadata, facts.metadata)
        case _:
            return None


def _principal_holds(match: object, request: Request) -> bool | None:
    """Whether the peer is who the rule wants; without a verified certificate nobody is anybody."""
    if not request.terminated or request.tls == "plaintext":
        return False
    if not isinstance(match, StringMatch):
        return True
    if request.principal is None:
        anybody = match.kind == "any" or (match.kind == "regex" and match.value in (".*", ".+"))
        anybody = anybody or (match.kind in ("prefix", "suffix", "contains") and not match.value)
        return True if anybody else None
    return strings.holds(match, request.principal)


def _open(policy: Policy, facts: Facts) -> str:
    """What was not known where a policy could not be judged."""
    reasons = dict.fromkeys(_reasons((*policy.permissions, *policy.principals), facts))
    if policy.condition is not None:
        reasons[policy.condition.text + ", which is not modelled"] = None
    return ", ".join(reasons) or "what is not known here"


def _reasons(rules: Iterable[Rule], facts: Facts) -> Iterable[str]:
    for rule in rules:
        if rule_holds(rule, facts) is not None:
            continue
        if rule.parts:
            yield from _reasons(rule.parts, facts)
        else:
            yield _WORDS.get(rule.kind, f"{rule.text or rule.kind}, which is not modelled")


_WORDS: Mapping[str, str] = {
    "principal": "the peer's identity, which is not known here",
    "source_ip": "the client's address, which is not known here",
    "direct_remote_ip": "the client's address, which is not known here",
    "remote_ip": "the client's address, which is not known here",
    "metadata": "what an earlier filter found out (a token's claims), which is not known here",
    "header": "a header that Envoy itself sets, or a matcher that is not modelled",
}
