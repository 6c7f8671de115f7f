"""Two nodes with a bridge and a pod each, made of network namespaces; the first node and its pod can have rules."""

import os
import subprocess
import sys
from dataclasses import dataclass, field

NODES = {"one": ("192.168.0.1", "10.0.0"), "two": ("192.168.0.2", "10.0.1")}
PODS = {"client": ("one", "10.0.0.5"), "far": ("two", "10.0.1.7")}
LISTENING = (
    ("one", 9100, 0),
    ("far", 8080, 0),
    ("client", 8080, 1000),
    ("client", 15001, 1337),
    ("client", 15006, 1337),
)
"""Where, on which port and as whom something listens: in the first node's pod an application and a proxy."""

LISTEN = """
import os, socket, sys
port, user = map(int, sys.argv[1:])
os.setgid(user), os.setuid(user)
s = socket.create_server(("0.0.0.0", port), backlog=64)
print("ready", flush=True)
while True:
    connection = s.accept()[0]
    try:
        connection.sendall(sys.argv[1].encode())
    except OSError:
        pass
    connection.close()
"""
CONNECT = """
import os, socket, sys
address, port, user, source = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
patience = float(sys.argv[5])
os.setgid(user), os.setuid(user)
s = socket.socket()
s.settimeout(patience)
try:
    s.bind((source, 0)) if source else None
    s.connect((address, port))
    print("connected to", s.recv(9).decode())
except TimeoutError:
    print("timeout")
except OSError:
    print("refused")
"""
EMPTY = "".join(f"*{table}\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter"))


@dataclass
class Nodes:
    """Two nodes with a bridge and a pod each; who listens answers, and the first node has the rules."""

    listeners: list[subprocess.Popen[str]] = field(default_factory=list)

    def build(self) -> None:
        for name in (*NODES, *PODS):
            self.run("ip", "netns", "add", self.name(name))
            self.ip(name, "link set lo up")
            self.inside(name, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit")  # refusals are never too many
        self.ip("one", f"link add eth0 type veth peer name eth0 netns {self.name('two')}")
        for name, (address, network) in NODES.items():
            self.ip(name, f"addr add {address}/24 dev eth0")
            self.ip(name, "link set eth0 up")
            self.ip(name, "link add cbr0 type bridge")
            self.ip(name, f"addr add {network}.1/24 dev cbr0")
            self.ip(name, "link set cbr0 up")
            self.inside(name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for name, (node, address) in PODS.items():
            self.ip(name, f"link add eth0 type veth peer name v{name} netns {self.name(node)}")
            self.ip(node, f"link set v{name} master cbr0 up")
            self.ip(name, f"addr add {address}/24 dev eth0")
            self.ip(name, "link set eth0 up")
            self.ip(name, f"route add default via {NODES[node][1]}.1")
        self.ip("one", "route add 10.0.1.0/24 via 192.168.0.2")
        self.ip("one", "route add default via 192.168.0.2")
        self.ip("two", "route add 10.0.0.0/24 via 192.168.0.1")
        for name, port, user in LISTENING:
            argv = ["ip", "netns", "exec", self.name(name), sys.executable, "-c", LISTEN, str(port), str(user)]
            listener = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            self.listeners.append(listener)
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"

    def close(self) -> None:
        for listener in self.listeners:
            listener.kill()
            listener.communicate()
        for name in (*NODES, *PODS):
            subprocess.run(["ip", "netns", "del", self.name(name)], check=False, capture_output=True)

    def load(self, rules: str, into: str = "one") -> str:
        """Give a namespace its rules, and those alone; what the tool complains about, empty where all went well."""
        for text in (EMPTY, rules):
            argv = ["ip", "netns", "exec", self.name(into), "iptables-nft-restore"]
            done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
            if done.returncode:
                return done.stderr
        return ""

    def ends(self, sender: str, address: str, port: int, user: int = 0, source: str = "", patience: float = 0.5) -> str:
        """How a connection ends: ``connected to`` a port, refused or timeout (after `patience` seconds)."""
        words = (address, str(port), str(user), source, str(patience))
        return self.inside(sender, sys.executable, "-c", CONNECT, *words).strip()

    def name(self, short: str) -> str:
        return f"meshctl-{short}-{os.getpid()}"

    def ip(self, namespace: str, words: str) -> None:
        self.run("ip", "-n", self.name(namespace), *words.split())

    def inside(self, namespace: str, *argv: str, text: str = "") -> str:
        return self.run("ip", "netns", "exec", self.name(namespace), *argv, text=text)

    @staticmethod
    def run(*argv: str, text: str = "") -> str:
        return subprocess.run(argv, check=True, input=text, capture_output=True, text=True).stdout
