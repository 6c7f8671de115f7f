"""``--kernel-cases N``: how many rulesets of each kind the differential tests make."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel-cases", type=int, default=None, help="rulesets of each kind to try in a real kernel")


def pytest_configure(config: pytest.Config) -> None:
    cases = config.getoption("--kernel-cases")
    if cases is not None:
        os.environ["MESHCTL_KERNEL_CASES"] = str(cases)
