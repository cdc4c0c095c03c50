"""The recipes that come with the package: found by name wherever a recipe is asked for."""

from pathlib import Path

from catalog.errors import UserError, nearest

FOLDER = Path(__file__).parent / "recipes"


def names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def find(recipe: str | Path) -> tuple[Path, Path]:
    """Return (recipe file, folder that its relative paths start at) of a path or of a shipped recipe's name.

    Paths of a shipped recipe start at the current folder, those of a file at the file's. A file comes before a shipped recipe.
    """
    path = Path(recipe)
    if path.exists() or path.suffix in (".yaml", ".yml") or len(path.parts) != 1:
        return path, path.parent
    if path.name in names():
        return FOLDER / f"{path.name}.yaml", Path()
    msg = f"no recipe at `{recipe}`, and none is shipped under that name{nearest(path.name, names())}"
    raise UserError(msg, hint="`cuvee recipe ls` lists the shipped ones", usage=True)


def first_line(path: Path) -> str:
    """Return the first sentence of the comment that a recipe file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    text = " ".join(lines)
    first, dot, _ = text.partition(". ")
    return first + dot.strip()


def text(name: str) -> str:
    """Return a shipped recipe; raise `UserError` with the nearest name for one that is not there."""
    if name not in names():
        msg = f"no shipped recipe named `{name}`{nearest(name, names())}"
        raise UserError(msg, hint="`cuvee recipe ls` lists them", usage=True)
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
