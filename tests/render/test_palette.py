import pytest

from meshctl.render.palette import DARK, GROUNDS, INKS, LIGHT


def luminance(color: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_all_writing_has_enough_contrast_on_every_ground(colors: dict[str, str]) -> None:
    poor = [(ink, ground) for ink in INKS for ground in GROUNDS if contrast(colors[ink], colors[ground]) < 4.5]
    assert not poor


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_that_carry_meaning_can_be_seen(colors: dict[str, str]) -> None:
    assert all(contrast(colors["strong-rule"], colors[ground]) >= 3 for ground in ("ground", "panel"))


def test_light_and_dark_name_the_same_colors() -> None:
    assert LIGHT.keys() == DARK.keys()
