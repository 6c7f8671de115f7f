"""The fixed commands that meshctl runs in a pod's network namespace: the whole list, and all of them only read.

``iptables -L`` is not among them: with the legacy binary it creates the tables that it lists.
"""

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ReadCommand:
    """What fills one part: `argvs` are tried in order until one's program is there."""

    part: str
    argvs: tuple[tuple[str, ...], ...]
    package: str

    @property
    def program(self) -> str:
        """The program to name where none of the alternatives is there."""
        return self.argvs[-1][0]


def _command(part: str, package: str, *argvs: str) -> ReadCommand:
    return ReadCommand(f"netns/{part}", tuple(tuple(argv.split()) for argv in argvs), package)


COMMANDS = (
    # Where `iptables` is the legacy binary by the distribution's choice, `iptables-nft-save` still reads nf_tables.
    _command("iptables-save.txt", "iptables", "iptables-nft-save -c", "iptables-save -c"),
    _command("ip6tables-save.txt", "iptables", "ip6tables-nft-save -c", "ip6tables-save -c"),
    _command("iptables-legacy-save.txt", "iptables", "iptables-legacy-save -c"),
    _command("ip6tables-legacy-save.txt", "iptables", "ip6tables-legacy-save -c"),
    _command("nft.json", "nftables", "nft -j list ruleset"),
    _command("sockets.txt", "iproute2", "ss -Htulnpe"),
    _command("ip-address.json", "iproute2", "ip -j address"),
    _command("ip-route.json", "iproute2", "ip -j route show table all"),
    _command("ip-rule.json", "iproute2", "ip -j rule"),
    _command("ip6-rule.json", "iproute2", "ip -6 -j rule"),
    _command("conntrack.txt", "conntrack", "conntrack -L"),
)
BY_PART = {command.part: command for command in COMMANDS}
PROCESSES = "netns/processes.json"
RESOLV_CONF = "netns/resolv.conf"
NETNS_PARTS = (*BY_PART, PROCESSES, RESOLV_CONF)

EMPTY_RULESETS = {"netns/nft.json": b'{"nftables": []}\n'}
"""What to record where a command answers with nothing at all though it succeeded (`nft -j` on an empty ruleset)."""
