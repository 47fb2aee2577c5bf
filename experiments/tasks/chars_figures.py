"""Figures of the chars task: a page of generated text."""

from matplotlib.figure import Figure


def page_of_text(title: str, text: str, lines: int = 34, columns: int = 96) -> Figure:
    """A figure of text, truncated to one page.

    Args:
      title: the heading.
      text: the text.
      lines: lines of a page.
      columns: characters of a line.
    """
    page = [line.expandtabs(4)[:columns] for line in text.splitlines()[:lines]]
    figure = Figure(figsize=(9.0, 0.6 + 0.14 * len(page)), dpi=150)
    figure.text(0.03, 0.98, title, va="top", fontsize=11)
    top = 1 - 0.42 / figure.get_figheight()
    figure.text(
        0.03, top, "\n".join(page), va="top", family="monospace", fontsize=8,
        linespacing=1.25, parse_math=False,
    )  # fmt: skip
    return figure
