"""Makes the pictures of README and docs: `python docs/pictures.py` (needs Chromium and the `dev` extra)."""

import pathlib
import subprocess
import sys

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "output" / "browser"
NOTEBOOK_PANEL = (290, 28, 1243, 1072)  # of a 1280 × 1100 page, pixels: without side bars and status line
PICTURES = {"quickstart": "tests/browser/test_quickstart.py"}
"""Name of each picture, and the browser test that takes its screenshot."""


def main() -> None:
    """Run the browser tests, and crop and store what they saw."""
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0", *PICTURES.values()], cwd=ROOT, check=True)
    folder = ROOT / "docs" / "images"
    folder.mkdir(exist_ok=True)
    for name in PICTURES:
        picture = Image.open(SCREENSHOTS / f"{name}.png").convert("RGB").crop(NOTEBOOK_PANEL)
        picture.quantize(128).save(folder / f"{name}.png", optimize=True)
        print(f"docs/images/{name}.png: {(folder / f'{name}.png').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
