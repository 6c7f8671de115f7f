"""What it costs to start: two commands as a multiple of importing the libraries that draw them."""

from bench.measure import Row, ms, processes, python

COMMANDS = {
    "meshctl --help": ("--help",),
    "meshctl --demo iptables dump": ("--demo", "iptables", "dump", "deploy/productpage-v1"),
    "meshctl --demo describe pod": ("--demo", "describe", "pod", "deploy/productpage-v1"),
    "meshctl --demo trace": ("--demo", "trace", "reviews:9080"),
}


def rows() -> list[Row]:
    """Every command against ``import typer, rich``; the first two have a target."""
    baseline = python("-c", "import typer, rich")
    base, *measured = processes([baseline, *(python("-m", "meshctl", *words) for words in COMMANDS.values())])
    return [
        Row(name, ms(took), f"import typer, rich: {ms(base)}", took / base, "under 2" if index < 2 else "")
        for index, (name, took) in enumerate(zip(COMMANDS, measured, strict=True))
    ]
