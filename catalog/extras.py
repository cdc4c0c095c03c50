"""What is installed: our packages, what they need, and the extras, each with the line that installs it.

In a checkout `pyproject.toml` says what there is: the record of an installation in place is as old as the installation.
"""

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

NAME = "cuvee"
TOP = ("catalog", "cli", "curate", "filters", "mixtures", "trainer")
HOME = Path(__file__).resolve().parent.parent  # a checkout, or the site-packages that all six lie in
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")
INSTALL = re.compile(r"pip install 'cuvee\[([\w-]+)\]'")  # as every error says it that misses a package
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One package that is needed, by its name in the registry; `extras` are its own."""

    name: str
    extras: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Requirement":
        """Return what a line such as `ray[data]>=2.40` asks for."""
        found = _REQUIREMENT.match(text)
        name, extras = found.groups() if found else (text, None)
        return cls(name=name, extras=tuple(e.strip() for e in (extras or "").split(",") if e.strip()))


@functools.cache
def _declared() -> Mapping[str, Sequence[Requirement]]:
    """Return what is needed by extra; without any extra under the empty name."""
    checkout = HOME / "pyproject.toml"
    if checkout.exists():
        project = tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]
        lists = {"": project["dependencies"], **project.get("optional-dependencies", {})}
        return {extra: [Requirement.of(line) for line in lines] for extra, lines in lists.items()}
    out: dict[str, list[Requirement]] = {"": []}
    out |= {extra: [] for extra in metadata.metadata(NAME).get_all("Provides-Extra") or ()}
    for line in metadata.requires(NAME) or ():
        text, _, marker = line.partition(";")
        found = _EXTRA.search(marker)
        out.setdefault(found[1] if found else "", []).append(Requirement.of(text))
    return out


def names() -> list[str]:
    """Return the names of the extras."""
    return sorted(e for e in _declared() if e)


def requirements(extra: str = "") -> list[str]:
    """Return the packages of an extra, of the extras that it names as well; without one those that are always needed."""
    out: list[str] = []
    for need in _declared()[extra]:
        out += [n for e in need.extras for n in requirements(e)] if need.name == NAME else [need.name]
    return list(dict.fromkeys(out))


def version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def missing(extra: str) -> list[str]:
    """Return the packages of an extra that are not installed."""
    return [p for p in requirements(extra) if version(p) is None]


def line(extra: str) -> str:
    """Return the command that installs an extra: from the checkout in which this runs, or from the registry."""
    return (
        f"pip install -e '{_checkout()}[{extra}]'"
        if (HOME / "pyproject.toml").exists()
        else f"pip install '{NAME}[{extra}]'"
    )


def local(text: str) -> str:
    """Return an error's text with the lines that install an extra as they are right here: in a checkout another one."""
    return INSTALL.sub(lambda m: line(m[1]) if m[1] in names() else m[0], text)


def _checkout() -> str:
    return "." if Path.cwd() == HOME else str(HOME)


# -- what `cuvee doctor` says --------------------------------------------------------------------------------------------


def report() -> dict[str, Any]:
    """Return {python, gpus, packages: [{name, version, from, ok}], extras: [{extra, installed, packages, missing, install}]}."""
    import platform

    return {
        "python": platform.python_version(),
        "gpus": _gpus(),
        "packages": [*_ours(), *_needed()],
        "extras": [
            {
                "extra": e,
                "installed": not missing(e),
                "packages": {p: version(p) for p in requirements(e)},
                "missing": missing(e),
                "install": line(e),
            }
            for e in names()
        ],
    }


def _ours() -> Iterator[dict[str, Any]]:
    for name in TOP:
        found = util.find_spec(name)
        path = Path(str(found.origin)).resolve() if found and found.origin else None
        yield {
            "name": name,
            "version": version(NAME),
            "from": str(path) if path else None,
            "ok": bool(path and path.is_relative_to(HOME)),  # elsewhere: another package has the name of ours
        }


def _needed() -> Iterator[dict[str, Any]]:
    for name in requirements():
        found = version(name)
        where = str(metadata.distribution(name).locate_file("")) if found else None
        yield {"name": name, "version": found, "from": where, "ok": found is not None}


def _gpus() -> int:
    if util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
