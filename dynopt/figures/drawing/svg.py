"""What an SVG needs so that every reader can use it: words for the picture, and another font."""

import re
from xml.sax.saxutils import escape

FONT = re.compile(r"(<(?:text|tspan)\b[^>]*?\bfont(?:-family)?:[^\";>]*')(?=[\";])")


def accessible(svg: str, alt: str) -> str:
    """The SVG of matplotlib as one image, with a description after its title.

    Where a font is missing, text is drawn in any font without serifs.
    """
    svg = FONT.sub(r"\1, sans-serif", svg).replace("<svg ", '<svg role="img" ', 1)
    return svg.replace("</title>\n", f"</title>\n <desc>{escape(alt)}</desc>\n", 1)
