"""``--kernel-cases N``: how many rulesets of each kind the differential tests make; and where they are made."""

import os
from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.nodes import Nodes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel-cases", type=int, default=None, help="rulesets of each kind to try in a real kernel")


def pytest_configure(config: pytest.Config) -> None:
    cases = config.getoption("--kernel-cases")
    if cases is not None:
        os.environ["MESHCTL_KERNEL_CASES"] = str(cases)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    built = Lab()
    try:
        yield built
    finally:
        built.close()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    built = Nodes()
    try:
        built.build()
        yield built
    finally:
        built.close()
