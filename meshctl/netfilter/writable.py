"""Whether iptables or nft takes a rule: values that it refuses, or reads in a way that cannot be told here.

`istio-iptables` hands its arguments on as they are; what is no port, mark, user or interface only fails when the rules
are written (seen with iptables 1.8.9: ``Port `99999' not valid``, ``invalid port/service``, ``Bad value for
"--uid-owner"``, ``must be shorter than IFNAMSIZ``, ``Bad argument``). Rules are handed on as lines of text, so blanks
around a value (``80, 90``) do no harm, and a blank within one ends it.
"""

import re
from dataclasses import replace

from meshctl.errors import BadInput
from meshctl.netfilter.draft import Action, Clause, Draft, mark_and_mask
from meshctl.netfilter.matches import ALL_BITS

_LAST_PORT, _LAST_OWNER, _LONGEST_NAME = 0xFFFF, 0xFFFFFFFE, 15
_BLANKS = " \t"
_ANY_INTERFACE = "+"
"""iptables' wildcard after nothing: the kernel holds the rule without the condition."""
_NFT_WORD = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]*\*?")
"""``string`` and ``asteriskstring`` of nft's ``scanner.l``."""


def writable(rule: Draft, *, native: bool = False) -> Draft:
    """The rule with open ranges of ports filled in; `native` for nft. BadInput where the tool refuses it, or may."""
    try:
        bare = (clause._replace(value=clause.value.strip(_BLANKS)) for clause in rule.clauses)
        clauses = tuple(_clause(clause, native) for clause in bare)
        clauses = tuple(c for c in clauses if native or c.kind not in ("in", "out") or c.value != _ANY_INTERFACE)
        return replace(rule, clauses=clauses, action=_action(rule.action))
    except ValueError as error:
        tool = "nft" if native else "iptables"
        raise BadInput(f"no rule of {tool} for {rule.table} {rule.chain} can be told: {error}") from None


def _clause(clause: Clause, native: bool) -> Clause:
    match clause.kind:
        case "sport" | "dport":
            return clause._replace(value=_ports(clause.value, "-" if native else ":"))
        case "dports":
            return clause._replace(value=",".join(_ports(one, ":") for one in clause.value.split(",")))
        case "uid" | "gid":
            if not clause.value.isdigit() or int(clause.value) > _LAST_OWNER:
                raise ValueError(f"'{clause.value}' is no {clause.kind}")
        case "in" | "out":
            _interface(clause.value, native)
        case "mark" | "connmark":
            _mark(clause.value)
        case _:
            pass
    return clause


def _interface(name: str, native: bool) -> None:
    """A name that the tool takes, whether or not an interface can have it; see `may_be_interface`."""
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"'{name}' is no interface: a name has at most {_LONGEST_NAME} bytes")
    if not name or any(c.isspace() for c in name):
        raise ValueError(f"'{name}' is no interface: a name is not empty and has no blanks")
    if native and not _NFT_WORD.fullmatch(name):
        raise ValueError(f"'{name}' is no name that nft reads without quotes, and Istio writes none")
    if '"' in name:
        raise ValueError(f"'{name}' has a quote, from which on iptables reads the rule differently")


def may_be_interface(name: str) -> bool:
    """What the kernel takes as a name (``dev_valid_name``): up to 15 bytes, no space, ``/`` or ``:``."""
    taken = name not in ("", ".", "..") and not any(c.isspace() or c in "/:" for c in name)
    return taken and len(name.encode()) <= _LONGEST_NAME


def _action(action: Action) -> Action:
    action = action._replace(value=action.value.strip(_BLANKS), extra=action.extra.strip(_BLANKS))
    match action.kind:
        case "redirect":
            return action._replace(value=_ports(action.value, "-"))
        case "tproxy":
            _mark(action.extra)
            return action._replace(value=str(_port(action.value)))
        case "mark" | "connmark":
            _mark(action.value)
        case _:
            pass
    return action


def _ports(text: str, dash: str) -> str:
    """A port or a range of ports, in decimal; an open end of iptables' range is the first or last port."""
    low, several, high = text.partition(dash)
    if not several:
        return str(_port(text))
    if dash == ":" and text != dash:
        low, high = low or "0", high or str(_LAST_PORT)
    ends = [_port(end, text) for end in (low, high)]
    if ends != sorted(ends):
        raise ValueError(f"'{text}' is no range of ports: it ends before it begins")
    return dash.join(map(str, ends)) if ends[0] != ends[1] else str(ends[0])


def _port(text: str, whole: str = "") -> int:
    """A port in plain decimal.

    Names of services and other number systems iptables reads as the image's ``/etc/services`` and each match have it:
    ``--dport 0120`` is 80 with ``-p tcp`` and 120 with ``-p udp``.
    """
    if not text.isascii() or not text.isdigit() or text != str(int(text)):
        raise ValueError(f"'{whole or text}' is no port in plain decimal: it is refused, or read as another one")
    if int(text) > _LAST_PORT:
        raise ValueError(f"'{whole or text}' is no port: the last one is {_LAST_PORT}")
    return int(text)


def _mark(text: str) -> None:
    try:
        numbers = mark_and_mask(text)
    except ValueError:
        numbers = (-1, 0)
    if not all(0 <= number <= ALL_BITS for number in numbers):
        raise ValueError(f"'{text}' is no mark")
