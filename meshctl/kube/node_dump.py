"""The few rules of a node's dump that a connection to one address can meet: a big node has tens of thousands.

All other lines are left blank, so that line numbers stay those of the dump.
"""

from collections import defaultdict
from typing import Literal

_STARTS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL")

_DECIDING = frozenset(("DROP", "REJECT", "DNAT", "REDIRECT", "NETMAP", "TPROXY", "NFQUEUE", "QUEUE", "NOTRACK"))
"""Targets that stop a packet, send it elsewhere, or keep nat from that."""
_HARMLESS = ("KUBE-FORWARD ", "KUBE-FIREWALL ")
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_TRANSLATING = ("PREROUTING", "OUTPUT")


class NodeDump:
    """An iptables-save text of a node, cut at chains once."""

    __slots__ = ("_cut", "_declared", "_frame", "_lines", "_rules", "_wide")

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._frame: list[int] = []
        self._declared: dict[str, list[int]] = defaultdict(list)
        self._rules: dict[str, list[int]] = defaultdict(list)
        self._cut: dict[tuple[int, ...], str] = {}
        for number, line in enumerate(self._lines):
            if line[:3] == "-A ":
                self._rules[line.split(" ", 2)[1]].append(number)
            elif line[:1] == "[" and "] -A " in line:
                self._rules[line.split(" ", 3)[2]].append(number)
            elif line[:1] == ":":
                self._declared[line.split(" ", 1)[0][1:]].append(number)
            else:
                self._frame.append(number)
        self._wide: dict[str, list[int]] = {}
        for chain in _STARTS:
            for number in self._rules.get(chain, ()):
                self._wide.setdefault(self._about(self._lines[number]), []).append(number)

    @property
    def kube_proxy(self) -> Literal["iptables", "ipvs", ""]:
        """The mode of the kube-proxy whose chains are in it; empty where there are none.

        With ipvs the chains only mark and filter (``pkg/proxy/ipvs/proxier.go``, Kubernetes 1.34: KUBE-NODE-PORT).
        """
        if "KUBE-SERVICES" not in self._declared:
            return ""
        return "ipvs" if "KUBE-NODE-PORT" in self._declared else "iptables"

    def about(self, address: str) -> str:
        """The dump with only what can concern an address: its services' rules and the chains that they lead to.

        Addresses that no rule names share one text, the same object.
        """
        firsts = (*self._wide.get("", ()), *self._wide.get(address, ()))
        if firsts not in self._cut:
            self._cut[firsts] = self._followed(firsts)
        return self._cut[firsts]

    def beside(self) -> str:
        """The dump with only what packets meet beside kube-proxy's choice: filters, and DNAT before it.

        Of nat these are the rules ahead of kube-proxy's. Empty where none of it stops or translates anything.
        """
        nat = self._nat()
        filters = [n for hook in _HOOKS for n in self._rules.get(hook, ()) if n not in nat]
        ahead = [n for hook in _TRANSLATING for n in self._around_kube_proxy(hook)[0]]
        kept = self._reached([*filters, *ahead])
        text = (self._lines[number] for number in kept)
        declared = (n for hook in _HOOKS for n in self._declared.get(hook, ()))
        policy = any(self._lines[number].split(" ", 2)[1:2] == ["DROP"] for number in declared)
        return self._only(kept) if policy or any(self._decides(line) for line in text) else ""

    def behind(self) -> str:
        """The dump with only the rules of nat that come after kube-proxy's; empty where none translates.

        What is for the node's own addresses meets them where kube-proxy has nothing for it: there containers'
        ``hostPort`` is (CNI's portmap, Docker).
        """
        kept = self._reached([n for hook in _TRANSLATING for n in self._around_kube_proxy(hook)[1]])
        return self._only(kept) if any(self._decides(self._lines[number]) for number in kept) else ""

    def _nat(self) -> range:
        """The lines of nat."""
        start = next((n for n in self._frame if self._lines[n] == "*nat"), len(self._lines))
        return range(
            start, next((n for n in self._frame if n > start and self._lines[n] == "COMMIT"), len(self._lines))
        )

    def _around_kube_proxy(self, hook: str) -> tuple[list[int], list[int]]:
        """The rules of nat at a hook ahead of kube-proxy's, and those behind them."""
        nat = self._nat()
        found = [number for number in self._rules.get(hook, ()) if number in nat]
        starts = [number for number in found if self._target(self._lines[number]) in _STARTS]
        first = starts[0] if starts else len(self._lines)
        return [n for n in found if n < first], [n for n in found if n > first and n not in starts]

    def _decides(self, line: str) -> bool:
        """Whether a rule stops a packet, sends it elsewhere, or keeps nat from that; not Kubernetes' own about itself.

        KUBE-FORWARD drops what is no connection's, KUBE-FIREWALL what comes from outside for 127.0.0.0/8.
        """
        if line.partition("-A ")[2].startswith(_HARMLESS):
            return False
        target = self._target(line)
        return target in _DECIDING or (target == "CT" and "--notrack" in line)

    def _only(self, kept: set[int]) -> str:
        """The dump with these rules alone, and all chains."""
        whole = {*kept, *self._frame, *(n for numbers in self._declared.values() for n in numbers)}
        return "\n".join(line if number in whole else "" for number, line in enumerate(self._lines))

    def _reached(self, firsts: list[int]) -> set[int]:
        """The rules and those of the chains that they lead to, but for kube-proxy's about Services."""
        kept, seen, waiting = set(firsts), set(_STARTS), list(firsts)
        while waiting:
            chain = self._target(self._lines[waiting.pop()])
            if chain in seen or chain not in self._declared:
                continue
            seen.add(chain)
            more = self._rules.get(chain, ())
            kept.update(more)
            waiting += more
        return kept

    def _followed(self, firsts: tuple[int, ...]) -> str:
        kept = set(self._frame)
        kept.update(firsts)
        seen = {name for name in _STARTS if name in self._declared}
        for name in seen:
            kept.update(self._declared[name])
        waiting = [self._target(self._lines[number]) for number in firsts]
        while waiting:
            chain = waiting.pop()
            if chain in seen or chain not in self._declared:
                continue
            seen.add(chain)
            kept.update(self._declared[chain])
            for number in self._rules.get(chain, ()):
                kept.add(number)
                waiting.append(self._target(self._lines[number]))
        lines = [""] * len(self._lines)
        for number in kept:
            lines[number] = self._lines[number]
        return "\n".join(lines)

    @staticmethod
    def _about(line: str) -> str:
        """The one address that a rule is about; empty for a rule about a network, or about none."""
        if " -d " not in line:
            return ""
        head, _, length = line.partition(" -d ")[2].partition(" ")[0].partition("/")
        return head if length in ("", "32", "128") else ""

    @staticmethod
    def _target(line: str) -> str:
        for flag in (" -j ", " -g "):
            if flag in line:
                return line.rpartition(flag)[2].partition(" ")[0]
        return ""
