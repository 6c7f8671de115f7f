"""The arguments of the programs in Istio's containers.

istio-iptables: ``tools/istio-iptables/pkg/cmd/root.go`` and ``pkg/constants``, 1.12.1 to 1.30.3.
pilot-agent: ``pilot/cmd/pilot-agent/app/cmd.go``; the arguments are those of the injection templates.
"""

from meshctl.injection.catalog import Known, table
from meshctl.injection.flags import FlagShape

IPTABLES = table(
    (
        Known("envoy-port", "the port on which the proxy takes outgoing connections", "15001"),
        Known("inbound-capture-port", "the port on which the proxy takes incoming connections", "15006"),
        Known(
            "inbound-tunnel-port",
            "the port on which the proxy takes HBONE, Istio's tunnel over HTTP/2; it is never captured",
            "15008",
        ),
        Known(
            "proxy-uid",
            "the user id that the proxy runs as: its own connections are let through, or they would go in circles",
            "1337",
        ),
        Known("proxy-gid", "the group id that the proxy runs as, let through like the user id", "the user id"),
        Known(
            "istio-inbound-interception-mode",
            "how incoming connections reach the proxy: REDIRECT rewrites their destination (the application sees "
            "127.0.0.6 as the caller), TPROXY keeps both addresses, NONE captures nothing",
            "REDIRECT",
        ),
        Known("istio-inbound-ports", "the incoming ports that are captured: * for all, empty for none", "empty: none"),
        Known("istio-local-exclude-ports", "incoming ports that are not captured; only counts when all others are"),
        Known("istio-exclude-interfaces", "network interfaces whose traffic is not captured", since="1.12"),
        Known(
            "istio-service-cidr",
            "the destination addresses that are captured: * for all, empty for none, else address ranges",
            "empty: none",
        ),
        Known("istio-service-exclude-cidr", "destination address ranges that are not captured"),
        Known(
            "istio-outbound-ports",
            "destination ports that are captured in addition to the address ranges; never narrows them",
        ),
        Known("istio-local-outbound-ports-exclude", "destination ports that are not captured"),
        Known(
            "kube-virt-interfaces",
            "interfaces (of virtual machines or of containers inside this pod) whose traffic counts as outgoing",
        ),
        Known("istio-inbound-tproxy-mark", "the firewall mark for TPROXY", "1337"),
        Known("istio-inbound-tproxy-route-table", "the routing table for TPROXY", "133"),
        Known("dry-run", "only print what would be done", "false"),
        Known("iptables-probe-port", "the port that the check of the rules dials; nothing listens there", "15002"),
        Known("probe-timeout", "how long the check of the rules may take", "5s"),
        Known("skip-rule-apply", "write no rules", "false"),
        Known("run-validation", "check with a real connection that the rules work; exit code 126 if not", "false"),
        Known("redirect-dns", "send DNS queries to the agent on port 15053", "false"),
        Known("capture-all-dns", "send DNS queries for every server there, not only those of resolv.conf", "false"),
        Known("network-namespace", "enter this network namespace first (used by the CNI plugin)"),
        Known("cni-mode", "called by the CNI plugin instead of an init container", "false"),
        Known("restore-format", "write the rules in one piece with iptables-restore", "true", until="1.23"),
        Known("output-paths", "also write the rules to a file", until="1.17"),
        Known("iptables-trace-logging", "log each rule that is applied to a packet", "false", until="1.25"),
        Known("drop-invalid", "drop packets that fit no known connection", "false", since="1.13"),
        Known("dual-stack", "write rules for IPv4 and IPv6", "false", since="1.17"),
        Known("reconcile", "replace rules that differ", "false", since="1.24"),
        Known("cleanup-only", "remove the rules and do nothing else", "false", since="1.24"),
        Known("force-apply", "write the rules even if they are there already", "false", since="1.24"),
        Known("native-nftables", "write the rules as nftables tables instead of iptables", "false", since="1.27"),
        Known("force-iptables-binary", "use this iptables variant (legacy or nft)", since="1.28"),
        Known("log_output_level", "how much the program itself logs", "default:info"),
        Known("log_as_json", "log as JSON", "false"),
    )
)
_IPTABLES_SHORTS = {
    "envoy-port": "p",
    "inbound-capture-port": "z",
    "inbound-tunnel-port": "e",
    "proxy-uid": "u",
    "proxy-gid": "g",
    "istio-inbound-interception-mode": "m",
    "istio-inbound-ports": "b",
    "istio-local-exclude-ports": "d",
    "istio-exclude-interfaces": "c",
    "istio-service-cidr": "i",
    "istio-service-exclude-cidr": "x",
    "istio-outbound-ports": "q",
    "istio-local-outbound-ports-exclude": "o",
    "kube-virt-interfaces": "k",
    "istio-inbound-tproxy-mark": "t",
    "istio-inbound-tproxy-route-table": "r",
    "dry-run": "n",
    "restore-format": "f",
}
_IPTABLES_BOOLEANS = frozenset(
    (
        "dry-run",
        "skip-rule-apply",
        "run-validation",
        "redirect-dns",
        "capture-all-dns",
        "cni-mode",
        "restore-format",
        "iptables-trace-logging",
        "drop-invalid",
        "dual-stack",
        "reconcile",
        "cleanup-only",
        "force-apply",
        "native-nftables",
        "log_as_json",
    )
)
IPTABLES_SHAPES = tuple(
    FlagShape(name, _IPTABLES_SHORTS.get(name, ""), name in _IPTABLES_BOOLEANS) for name in IPTABLES
)

AGENT = table(
    (
        Known("domain", "the DNS suffix of this pod's namespace, with which short host names are completed"),
        Known("proxyLogLevel", "how much Envoy logs", "warning"),
        Known("proxyComponentLogLevel", "how much single parts of Envoy log", "misc:error"),
        Known("log_output_level", "how much the agent itself logs", "default:info"),
        Known("log_as_json", "log as JSON", "false"),
        Known("concurrency", "the number of worker threads of Envoy; 0 means one per CPU core", "2", until="1.17"),
        Known("serviceCluster", "the name by which this proxy calls itself in traces and statistics", "istio-proxy"),
        Known("stsPort", "the port of the token exchange service; 0 turns it off", "0"),
        Known("tokenManagerPlugin", "which plugin exchanges tokens"),
        Known("trust-domain", "the name of the mesh's root of trust, the first part of every identity", until="1.13"),
        Known("outlierLogPath", "where Envoy logs endpoints that it stops using", since="1.18"),
        Known("profiling", "offer Go profiles on the agent's port", "true", since="1.21"),
        Known("templateFile", "use this template for Envoy's first configuration"),
        Known("meshConfig", "read the mesh's settings from this file", "./etc/istio/config/mesh"),
        Known("binaryPath", "the Envoy program", "/usr/local/bin/envoy", until="1.12"),
        Known("configPath", "where Envoy's first configuration is written", "./etc/istio/proxy", until="1.12"),
        Known("disableInternalTelemetry", "turn off the agent's own telemetry", until="1.14"),
        Known("log_caller", "name the calling function in the log"),
        Known("log_stacktrace_level", "from which level on the log has stack traces"),
        Known("log_target", "where to log to", "stdout"),
        Known("log_rotate", "rotate the log file"),
        Known("log_rotate_max_age", "days until a rotated log is deleted"),
        Known("log_rotate_max_backups", "how many rotated logs are kept"),
        Known("log_rotate_max_size", "megabytes until the log is rotated"),
        Known("vklog", "how much the Kubernetes client logs"),
    )
)
_AGENT_BOOLEANS = frozenset({"log_as_json", "profiling", "disableInternalTelemetry"})
AGENT_SHAPES = tuple(FlagShape(name, "", name in _AGENT_BOOLEANS) for name in AGENT)

ZTUNNEL_COMMANDS = table(
    (
        Known("proxy", "run the proxy"),
        Known("ztunnel", "as ztunnel: the node's proxy of an ambient mesh", since="1.18"),
    )
)
"""The words of ztunnel's own program, which takes them for likeness with pilot-agent."""

AGENT_COMMANDS = table(
    (
        Known("proxy", "run the agent, which fetches certificates, starts Envoy and watches it"),
        Known("sidecar", "as the proxy beside an application"),
        Known("router", "as a gateway: a proxy of its own that lets traffic into or out of the mesh"),
        Known("waypoint", "as a waypoint: a proxy that a namespace or service of an ambient mesh shares", since="1.15"),
        Known("ztunnel", "as ztunnel: the node's proxy of an ambient mesh", since="1.18"),
        Known("istio-iptables", "the program that writes the rules which send this pod's traffic through the proxy"),
    )
)
