"""`make pictures`, docs/compare.png: the sheet that `gpen compare` writes, of networks that are no restorers.

They have synthetic weights that only sharpen or only tint, and random ones. Given a file, the sheet is written there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from options import BLUE, HERE, SPEC, portrait

import gpen
from gpen.cli import main as command
from gpen.network.synthetic import SHARPEN, synthetic_weights
from tests.compare.face_networks import gfpgan

SYNTHETIC: dict[str, dict[str, Any]] = {"synthetic, sharpens": {"kernel": SHARPEN}, "synthetic, tints": BLUE}
OTHER = "random weights"


def main(path: Path = HERE.parent / "docs" / "compare.png") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = folder / "astronaut.png"
        gpen.write_picture(photo, gpen.Picture(portrait()))
        for label, arguments in SYNTHETIC.items():
            torch.save(synthetic_weights(SPEC, **arguments), folder / f"{label}.pth")
        gfpgan(folder / f"{OTHER}.pth")
        first, second = (folder / f"{label}.pth" for label in SYNTHETIC)
        code = command(
            [
                *("compare", str(photo), "--model", str(first), "--with", str(second)),
                *("--with", str(folder / f"{OTHER}.pth"), "--faces", str(HERE / "astronaut_faces.json")),
                *("-o", str(path), "--overwrite", "--device", "cpu", "--cell", "320", "--mask", "ellipse"),
            ]
        )
    assert code == 0, f"gpen compare ended with {code}"
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
