"""The style sheet of an html page, put together from the colours and the two files beside this one."""

from pathlib import Path

from meshctl.render.palette import DARK, FONTS, LIGHT, variables
from meshctl.render.svg_shapes import css


def sheet() -> str:
    """Dark where the reader's screen is; paper is always light."""
    article = Path(__file__).with_name("article.css").read_text(encoding="utf-8")
    return "\n".join(
        (
            f":root {{ color-scheme: light dark; {variables(LIGHT)}{variables(FONTS)} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}",
            article,
            css(),
        )
    )
