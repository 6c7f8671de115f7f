"""What this machine and this process can do: root, capabilities, tools, kernel modules. Reads files, runs nothing."""

import os
import platform
import shutil
from pathlib import Path

# include/uapi/linux/capability.h
_BITS = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}
NEEDED = ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN")
MODULES = ("nf_tables", "ip_tables", "nf_conntrack", "nf_nat", "xt_REDIRECT", "xt_TPROXY", "xt_owner")
_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


def is_root() -> bool:
    """Whether the process runs as root."""
    return os.geteuid() == 0


def missing_capabilities(status: str | None = None) -> tuple[str, ...]:
    """The capabilities that entering a namespace and reading its rules take, and that this process lacks."""
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace") if status is None else status
    effective = next((int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), 0)
    return tuple(name for name in NEEDED if not effective >> _BITS[name] & 1)


def missing_programs(programs: tuple[str, ...]) -> tuple[str, ...]:
    """The programs that are not installed here."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_FOLDERS))
    return tuple(program for program in programs if shutil.which(program, path=path) is None)


def missing_modules() -> tuple[str, ...]:
    """The modules of packet filtering that are neither loaded nor built in; the kernel may load them when asked."""
    release = platform.release()
    try:
        built_in = Path(f"/lib/modules/{release}/modules.builtin").read_text(encoding="ascii", errors="replace")
    except OSError:
        built_in = ""
    return tuple(
        name
        for name in MODULES
        if not Path("/sys/module", name.lower()).is_dir()
        and not Path("/sys/module", name).is_dir()
        and f"/{name}.ko" not in built_in
    )


def kernel() -> str:
    """The kernel's release."""
    return platform.release()
