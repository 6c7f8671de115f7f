"""What a command imports: start-up time is mostly import time, so heavy modules may not creep in."""

import subprocess
import sys

HEAVY = ("kubernetes", "rich.console", "yaml", "re2", "grpc", "nsenter", "asyncio", "http.client", "jsonschema")


def imported(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running the code; commands may leave with SystemExit 0."""
    program = f"""
import sys, io
said, sys.stdout = sys.stdout, io.StringIO()
try:
    {code}
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print("\\n".join(sys.modules), file=said)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n"))


def command(*words: str) -> str:
    return f"import sys; sys.argv = ['meshctl', *{words!r}]; from meshctl.__main__ import main; main()"


def test_the_command_line_itself_is_light() -> None:
    assert imported("import meshctl.cli.app").isdisjoint(HEAVY)


def test_help_is_light_and_loads_no_command() -> None:
    modules = imported(command("--help"))
    assert modules.isdisjoint(HEAVY)
    assert not {name for name in modules if name.startswith(("meshctl.views", "meshctl.netfilter", "meshctl.envoy"))}


def test_a_dump_of_the_demo_needs_no_cluster_client_and_no_yaml() -> None:
    modules = imported(command("--demo", "iptables", "dump", "deploy/productpage-v1"))
    assert modules.isdisjoint({"kubernetes", "yaml", "re2", "grpc", "jsonschema", "nsenter"})
    assert not {name for name in modules if name.startswith(("meshctl.envoy", "meshctl.istio", "meshctl.path"))}


def test_a_table_of_a_proxy_reads_its_own_section_alone() -> None:
    secrets = imported(command("--demo", "proxy", "secrets", "deploy/productpage-v1"))
    assert "meshctl.envoy.secret" in secrets
    assert secrets.isdisjoint(
        {f"meshctl.envoy.{name}" for name in ("route", "listener", "cluster", "filters", "match")}
    )


def test_json_does_not_pay_for_the_terminal() -> None:
    modules = imported(command("--demo", "iptables", "dump", "deploy/productpage-v1", "-o", "json"))
    assert modules.isdisjoint({"rich", "rich.console", "kubernetes", "yaml"})


def test_typers_coercion_waits_for_a_value_that_needs_it() -> None:
    words = ("--demo", "iptables", "dump", "deploy/productpage-v1")
    assert imported(command(*words, "-o", "json")).isdisjoint({"pydantic", "pydantic_core"})
