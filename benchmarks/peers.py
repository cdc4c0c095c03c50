"""Environments of their own for the peers that benchmarks compare with: made at first use, kept in the user's cache.

    python benchmarks/peers.py                   # which there are, and whether they are made
    python benchmarks/peers.py datatrove         # make one

A peer never shares an environment with Cuvee: their pins conflict, and a library that one of them upgrades would change
what is measured.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

PEERS = {
    # datatrove splits words with spaCy; its filters import the rest at call time.
    "datatrove": ("datatrove[io,processing]==0.10.1", "spacy", "nltk"),
    # Data-Juicer imports aiohttp without asking for it, and installs Ray by itself when it is first imported.
    "data-juicer": ("py-data-juicer==1.6.1", "aiohttp", "ray"),
    "nemo-curator": ("nemo-curator[text_cpu]==1.4.0",),
    "cleanvision": ("cleanvision==0.3.7",),
    "daft": ("daft==0.7.26",),
    "rensa": ("rensa==0.5.0",),
    "datasketch": ("datasketch==2.0.0",),
    # Later releases ask for Python 3.12.
    "text-dedup": ("text-dedup==0.4.0",),
    "imagededup": ("imagededup==0.3.3",),
}


def folder(name: str) -> Path:
    """Return where the environment of `name` lies: named by its requirements, so that a changed pin is a new one."""
    root = Path(os.environ.get("CUVEE_PEERS", Path.home() / ".cache" / "cuvee" / "peers"))
    key = hashlib.sha256("\n".join(PEERS[name]).encode()).hexdigest()[:8]
    return root / f"{name}-{key}"


def python(name: str) -> Path:
    """Return the Python of the peer's environment, making it if it is not there."""
    home = folder(name)
    if not (home / "made").exists():
        print(f"setting up {name} in {home}", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True)
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        command = [home / "bin" / "python", "-m", "pip", "install", "-q", *PEERS[name]]
        subprocess.run(command, check=True, env=environment)
        (home / "made").touch()
    return home / "bin" / "python"


def main() -> None:
    for name in sys.argv[1:]:
        print(python(name))
    if not sys.argv[1:]:
        for name, requirements in PEERS.items():
            print(f"{name:<14} {'made' if (folder(name) / 'made').exists() else '-':<5} {' '.join(requirements)}")


if __name__ == "__main__":
    main()
