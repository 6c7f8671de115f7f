"""A pod and the world outside as two scratch network namespaces; packets are sent one at a time and never answered.

A table of our own, after everything else, notes where a packet ends (INPUT, or POSTROUTING but for lo) and drops it
there, so no reply and no second packet disturbs the counters, and no connection is confirmed that leaves the pod.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshctl.netfilter import iproute, iptables_save, nft_json, routing
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Backend, Family, Ruleset
from meshctl.netfilter.routing import Network

POD4, POD6, GATEWAY4, GATEWAY6 = "172.17.0.7", "fd00:10::7", "172.17.0.1", "fd00:10::1"
LISTENERS = (15001, 15006)


def _sink() -> str:
    sets = "".join(
        f"set {way}{version} {{ typeof {interface} . {address} daddr . th sport . th dport . meta mark;"
        " flags dynamic; size 65535; }\n"
        for way, interface in (("in", "iifname"), ("out", "oifname"))
        for version, address in ((4, "ip"), (6, "ip6"))
    )
    noted = {
        way: "".join(
            f"meta l4proto {{ tcp, udp }} add @{way}{version} {{ {interface} . {address} daddr . th sport . th dport"
            " . meta mark }\n"
            for version, address in ((4, "ip"), (6, "ip6"))
        )
        for way, interface in (("in", "iifname"), ("out", "oifname"))
    }
    return f"""
table inet zz-sink {{
{sets}
  chain input {{ type filter hook input priority 900;
    {noted["in"]}
    counter drop
  }}
  chain postrouting {{ type filter hook postrouting priority 900;
    oifname "lo" accept
    {noted["out"]}
    counter drop
  }}
}}
"""


SINK = _sink()

EMPTY = "".join(f"*{table}\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter", "security"))
"""What empties every table; iptables-restore flushes a table that it names."""

Place = tuple[str, str, str, int]
"""Family as in a walk's steps, table, chain, rule number."""


@dataclass(frozen=True)
class Seen:
    """What the kernel did with one packet: how often each rule counted, and where the packet ended."""

    hits: Counter[Place]
    end: str
    where: tuple[str, str, int, int] | None
    """Interface, destination, its port and the mark at the end; None where it has no ports or did not get there."""


@dataclass
class Agent:
    """A process inside a namespace."""

    name: str
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        script = str(Path(__file__).with_name("agent.py"))
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, *argv: str, text: str = "", check: bool = True) -> str:
        done = self.ask({"run": list(argv), "text": text})
        if check and done["code"]:
            raise RuntimeError(f"{' '.join(argv)}: {done['err']}")
        return str(done["out"])

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


class Lab:
    """The two namespaces."""

    def __init__(self, backend: Backend = "nft") -> None:
        self.backend: Backend = backend
        self.names = [f"meshctl-{role}-{backend}-{os.getpid()}" for role in ("pod", "world")]
        for name in self.names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        self.pod, self.world = (Agent(name) for name in self.names)
        self._connect()
        self.pod.run("nft", "-f", "-", text=SINK)
        self.network = self._network()
        self.sport = 20000

    def _connect(self) -> None:
        pod, world = self.names
        lines = (
            f"-n {pod} link add eth0 type veth peer name eth0p netns {world}",
            f"-n {pod} link set lo up",
            f"-n {world} link set lo up",
            f"-n {pod} addr add {POD4}/16 dev eth0",
            f"-n {pod} addr add {POD6}/64 dev eth0 nodad",
            f"-n {world} addr add {GATEWAY4}/16 dev eth0p",
            f"-n {world} addr add {GATEWAY6}/64 dev eth0p nodad",
            f"-n {pod} link set eth0 up",
            f"-n {world} link set eth0p up",
            f"-n {pod} route add default via {GATEWAY4}",
            f"-n {pod} -6 route add default via {GATEWAY6}",
            f"-n {pod} rule add fwmark 0x539 lookup 133",
            f"-n {pod} -6 rule add fwmark 0x539 lookup 133",
            f"-n {pod} route add local 0.0.0.0/0 dev lo table 133",
            f"-n {pod} -6 route add local ::/0 dev lo table 133",
        )
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        for agent in (self.pod, self.world):
            for key in ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"):
                agent.run("sh", "-c", f"echo 0 > /proc/sys/{key.replace('.', '/')}")
        self.pod.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")
        self.pod.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.pod.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        mac = self.pod.run("cat", "/sys/class/net/eth0/address").strip()
        for address in (POD4, POD6):
            self.world.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0p", "nud", "permanent")
        for port in LISTENERS:
            self.pod.ask({"listen": port})

    def _network(self) -> Network:
        run = self.pod.run
        routes = iproute.parse_routes(run("ip", "-j", "route", "show", "table", "all"))
        routes += iproute.parse_routes(run("ip", "-6", "-j", "route", "show", "table", "all"))
        return routing.assemble(
            iproute.parse_addresses(run("ip", "-j", "address")),
            routes,
            iproute.parse_rules(run("ip", "-j", "rule")),
            iproute.parse_rules(run("ip", "-6", "-j", "rule")),
            complete=True,
        )

    def close(self) -> None:
        for agent in (self.pod, self.world):
            agent.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    # --- rules

    def clear(self) -> None:
        self.pod.run("nft", "flush", "ruleset")
        for tool in ("iptables", "ip6tables") if self.backend == "legacy" else ():
            self.pod.run(f"{tool}-legacy-restore", text=EMPTY)
        self.pod.run("nft", "-f", "-", text=SINK)
        self.pod.run("conntrack", "-F", check=False)

    def restore(self, text4: str, text6: str = "") -> str:
        """Restore iptables rules; what the tool complains about, empty where all went well."""
        for tool, text in (("iptables", text4), ("ip6tables", text6)):
            tool = f"{tool}-{self.backend}-restore"
            done = self.pod.ask({"run": [tool], "text": text})
            if done["code"]:
                return str(done["err"])
        return ""

    def load(self, text: str) -> str:
        """Load an nft script; what the tool complains about."""
        done = self.pod.ask({"run": ["nft", "-f", "-"], "text": text})
        return str(done["err"]) if done["code"] else ""

    def rulesets(self) -> tuple[Ruleset, ...]:
        """What is in the pod now, read as meshctl reads it, the sink left out."""
        four, six = self._saved("iptables", "ipv4"), self._saved("ip6tables", "ipv6")
        listing = json.loads(self.pod.run("nft", "-j", "list", "ruleset"))
        listing["nftables"] = [
            item
            for item in listing["nftables"]
            if not any("zz-sink" in (body.get("table"), body.get("name")) for body in item.values())
        ]
        return merge((four, six, *nft_json.parse(json.dumps(listing))))

    def _saved(self, tool: str, family: Family) -> Ruleset:
        text = self.pod.run(f"{tool}-{self.backend}-save", "-c")
        return iptables_save.parse(text, f"{tool}-save.txt", family, self.backend)

    def snapshot(self) -> "Snapshot":
        """All counters, and what the sink noted."""
        taken = Snapshot()
        if self.backend == "legacy":
            for family, ruleset in (("ip", self._saved("iptables", "ipv4")), ("ip6", self._saved("ip6tables", "ipv6"))):
                for table, chain, number, rule in ruleset.rules:
                    taken.rules[(family, table.name, chain.name, number)] = rule.packets or 0
        for item in json.loads(self.pod.run("nft", "-j", "list", "ruleset"))["nftables"]:
            ((kind, body),) = item.items()
            if kind == "rule":
                taken.rule(body)
            elif kind == "set" and body["table"] == "zz-sink":
                taken.noted(body)
        return taken

    # --- packets

    def send(self, packet: dict[str, Any], before: "Snapshot") -> tuple[Seen, "Snapshot"]:
        """Send one packet and say what became of it; `before` is the snapshot after the last one."""
        agent = self.world if packet["direction"] == "inbound" else self.pod
        flags = [name for name in str(packet.get("flags") or "").split(",") if name not in ("", "none")]
        agent.ask({"send": {**packet, "flags": flags}})
        time.sleep(0.003)
        after = self.snapshot()
        hits = Counter(after.rules)
        hits.subtract(before.rules)
        end = next((hook for hook in after.drops if after.drops[hook] > before.drops[hook]), "gone")
        where = after.ends.get(packet.get("sport") or -1)
        return Seen(Counter({place: count for place, count in hits.items() if count}), end, where), after

    def next_port(self) -> int:
        self.sport = self.sport + 1 if self.sport < 60000 else 20000
        return self.sport


@dataclass
class Snapshot:
    """Counters of every rule by place, the sink's own, and the noted packets by source port."""

    rules: Counter[Place] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    ends: dict[int, tuple[str, str, int, int]] = field(default_factory=dict)
    _numbers: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def rule(self, body: dict[str, Any]) -> None:
        chain = (body["family"], body["table"], body["chain"])
        self._numbers[chain] += 1
        for expression in body["expr"]:
            if "counter" in expression and body["table"] == "zz-sink":
                self.drops["INPUT" if body["chain"] == "input" else "POSTROUTING"] = expression["counter"]["packets"]
            elif "counter" in expression:
                self.rules[(*chain, self._numbers[chain])] = expression["counter"]["packets"]

    def noted(self, body: dict[str, Any]) -> None:
        for element in body.get("elem", ()):
            value = element.get("elem", {}).get("val", element) if isinstance(element, dict) else element
            interface, address, sport, dport, mark = value["concat"]
            self.ends[sport] = (interface, address, dport, mark)
