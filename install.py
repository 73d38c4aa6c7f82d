"""SD-WebUI: installs the packages that are missing, at the host's start. It does nothing anywhere else."""

from __future__ import annotations

import importlib.util

# Import name to what pip installs. PyTorch and NumPy are the host's.
NEEDED = {
    "cv2": "opencv-python-headless<5",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "tifffile": "tifffile",
    "tqdm": "tqdm",
    "facexlib": "facexlib",
}


def missing() -> list[str]:
    """The packages to install, as pip names them."""
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]


def main() -> None:
    """Install what is missing where this runs as SD-WebUI's installer; other hosts' managers run this file too."""
    try:
        import launch
    except ImportError:
        return
    if not hasattr(launch, "run_pip"):
        return
    for package in missing():
        # What these need in turn is there, or in the list. Pip would put a second OpenCV beside the one that is there
        # (there are several packages for it), and another NumPy in place of the host's.
        launch.run_pip(f'install --no-deps "{package}"', f"{package} for GPEN Face Restore")


if __name__ == "__main__":
    main()
