"""Draws the modules of `lstm_jax` and their imports: ``python docs/draw_architecture.py``.

The layers are those that `docs/architecture.md` lists; the arrows are read from the code. An arrow
that a longer path of arrows implies is left out.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "images" / "architecture.png"
PACKAGE = "lstm_jax"


def layers() -> list[list[str]]:
    """The layers of modules from the bottom up, as the page lists them from the top down."""
    (block,) = re.findall(r"```layers\n(.*?)```", PAGE.read_text(), re.S)
    return [line.split() for line in reversed(block.splitlines())]


def imported_names(path: Path, root: Path) -> Iterator[str]:
    """Every dotted name that a file imports: ``from a import b`` gives ``a.b``."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports(root: Path = ROOT) -> set[tuple[str, str]]:
    """Pairs of modules of the package, the first of which imports the second."""
    found = set()
    for path in (root / PACKAGE).rglob("*.py"):
        module = path.relative_to(root).with_suffix("").parts[1]
        for name in imported_names(path, root):
            package, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if package == PACKAGE and target and module not in ("__init__", target):
                found.add((module, target))
    return found


def direct(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs without those that a longer path implies."""
    reached: dict[str, set[str]] = {}

    def below(module: str) -> set[str]:
        if module not in reached:
            targets = {b for a, b in pairs if a == module}
            reached[module] = targets.union(*map(below, targets))
        return reached[module]

    return {
        (a, b) for a, b in pairs if not any(b in below(c) for d, c in pairs if d == a and c != b)
    }


def lines_of(module: str) -> int:
    """Lines of a module or of a folder of modules."""
    folder = ROOT / PACKAGE / module
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return sum(len(file.read_text().splitlines()) for file in files)


def draw() -> None:
    """Write the picture."""
    import matplotlib.pyplot as plt

    rows = layers()
    widest = max(map(len, rows))
    figure, axes = plt.subplots(figsize=(2.1 * widest, 0.9 * len(rows)), dpi=110)
    figure.subplots_adjust(0, 0, 1, 1)
    centre = {}
    for level, row in enumerate(rows):
        for k, module in enumerate(row):
            centre[module] = ((k + 0.5) * widest / len(row), float(level))
    axes.set(xlim=(0, widest), ylim=(-0.6, len(rows) - 0.4))
    axes.axis("off")
    boxes = {}
    for module, (x, y) in centre.items():
        folder = (ROOT / PACKAGE / module).is_dir()
        text = axes.text(
            x,
            y,
            f"{module}{'/' if folder else '.py'}\n{lines_of(module):,} lines",
            ha="center",
            va="center",
            fontsize=9,
            zorder=3,
            bbox={"boxstyle": "round,pad=0.35", "fc": "#eef3f8", "ec": "#335577"},
        )
        boxes[module] = text.get_bbox_patch()
    figure.canvas.draw()  # the arrows, drawn first, need the places of the boxes
    for module, target in sorted(direct(imports())):
        bend = 0.12 if centre[module][1] - centre[target][1] > 1 else 0.0
        style = {
            "arrowstyle": "-|>",
            "color": "#667788",
            "lw": 0.9,
            "patchA": boxes[module],
            "patchB": boxes[target],
            "connectionstyle": f"arc3,rad={bend}",
        }
        axes.annotate("", centre[target], centre[module], arrowprops=style, zorder=1)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    draw()
