"""The colours of svg and html, for light and dark screens.

Every colour of writing has a contrast of at least 4.5 to each ground that it may stand on (WCAG 2.2, 1.4.3);
a test computes it. Style names are those of ``meshctl.blocks``.
"""

LIGHT = {
    "ground": "#ffffff",
    "panel": "#f5f7f9",
    "code-ground": "#eef1f4",
    "good-ground": "#e9f6ee",
    "bad-ground": "#fdeeec",
    "warn-ground": "#fff5dc",
    "info-ground": "#ebf3fc",
    "rule": "#cfd7df",
    "strong-rule": "#7d8894",
    "ink": "#1b2127",
    "dim": "#55606b",
    "name": "#0a566c",
    "code": "#7a2168",
    "good": "#116130",
    "bad": "#b01f17",
    "warn": "#774a00",
    "added": "#116130",
    "accent": "#0b549c",
}
DARK = {
    "ground": "#101418",
    "panel": "#181d23",
    "code-ground": "#222930",
    "good-ground": "#11271a",
    "bad-ground": "#321716",
    "warn-ground": "#2c230e",
    "info-ground": "#122233",
    "rule": "#343d47",
    "strong-rule": "#7a8693",
    "ink": "#e5e9ed",
    "dim": "#a3aeb9",
    "name": "#74d2e7",
    "code": "#e5aef2",
    "good": "#74dd90",
    "bad": "#ff9c94",
    "warn": "#f1c266",
    "added": "#74dd90",
    "accent": "#84bdff",
}
FONTS = {
    "mono": 'ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,"Liberation Mono",monospace',
    "sans": 'system-ui,-apple-system,"Segoe UI","DejaVu Sans",Roboto,"Liberation Sans",sans-serif',
}
GROUNDS = (*(key for key in LIGHT if key.endswith("ground")), "panel")
INKS = ("ink", "dim", "name", "code", "good", "bad", "warn", "added", "accent")
MARKS = {"good": "✓", "bad": "✗", "warn": "!", "info": "·", "plain": "", "dim": ""}
"""What stands before coloured words, so that no meaning is in colour alone."""


def variables(values: dict[str, str]) -> str:
    """Colours or fonts as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in values.items())


def painted(css: str, values: dict[str, str]) -> str:
    """CSS with each ``var(--name)`` replaced: for viewers of pictures, many of which know no custom properties."""
    for name, value in (values | FONTS).items():
        css = css.replace(f"var(--{name})", value)
    return css
