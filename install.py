"""SD-WebUI: installs missing packages when the host starts. It does nothing anywhere else."""

from __future__ import annotations

import importlib.util

# Import name: what pip installs. PyTorch and NumPy are the host's.
NEEDED = {
    "cv2": "opencv-python-headless<5",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "tifffile": "tifffile",
    "tqdm": "tqdm",
    "facexlib": "facexlib",
}


def missing() -> list[str]:
    """The packages to install, by their names for pip."""
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]


def main() -> None:
    """Install what is missing, if SD-WebUI runs this file; other hosts' managers run it too."""
    try:
        import launch
    except ImportError:
        return
    if not hasattr(launch, "run_pip"):
        return
    for package in missing():
        # --no-deps: pip would install a second OpenCV, under another of its package names, and replace the host's
        # NumPy. Other dependencies are installed already, or in the list.
        launch.run_pip(f'install --no-deps "{package}"', f"{package} for GPEN Face Restore")


if __name__ == "__main__":
    main()
