"""The few rules of a node's dump that a connection to one address can meet: a big node has tens of thousands.

All other lines are left blank, so that line numbers stay those of the dump.
"""

_STARTS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL")


class NodeDump:
    """An iptables-save text of a node, cut at chains once."""

    __slots__ = ("_declared", "_frame", "_lines", "_rules")

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._frame: list[int] = []
        self._declared: dict[str, list[int]] = {}
        self._rules: dict[str, list[int]] = {}
        for number, line in enumerate(self._lines):
            at = line.find("-A ")
            if at >= 0 and line[:1] in "[-":
                self._rules.setdefault(line[at + 3 : line.find(" ", at + 3)], []).append(number)
            elif line[:1] == ":":
                self._declared.setdefault(line[1 : line.find(" ")], []).append(number)
            else:
                self._frame.append(number)

    @property
    def of_kube_proxy(self) -> bool:
        """Whether kube-proxy's chains are in it."""
        return "KUBE-SERVICES" in self._declared

    def about(self, address: str) -> str:
        """The dump with only what can concern an address: its services' rules and the chains that they lead to."""
        kept = set(self._frame)
        waiting = [name for name in _STARTS if name in self._declared]
        seen = set(waiting)
        while waiting:
            chain = waiting.pop()
            kept.update(self._declared.get(chain, ()))
            for number in self._rules.get(chain, ()):
                line = self._lines[number]
                if chain in _STARTS and " -d " in line and not self._concerns(line, address):
                    continue
                kept.add(number)
                target = self._target(line)
                if target in self._declared and target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return "\n".join(line if number in kept else "" for number, line in enumerate(self._lines))

    @staticmethod
    def _concerns(line: str, address: str) -> bool:
        wanted = line.partition(" -d ")[2].partition(" ")[0]
        head, _, length = wanted.partition("/")
        return head == address or (length not in ("", "32", "128"))

    @staticmethod
    def _target(line: str) -> str:
        for flag in (" -j ", " -g "):
            if flag in line:
                return line.rpartition(flag)[2].partition(" ")[0]
        return ""
