"""Makes the pictures of README and docs: `python docs/pictures.py` (needs Chromium and the `dev` extra).

Screenshots come from the browser tests, figures from the tutorials as they are stored. `python docs/pictures.py
figures` makes the figures alone, in a second.
"""

import base64
import io
import json
import pathlib
import subprocess
import sys

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "images"
SEEN = {
    "quickstart": ("tests/browser/test_quickstart.py", "quickstart", (290, 28, 1243, 1072)),
    "labeler": ("tests/browser/test_labeler.py", "labeler-while-training", (372, 428, 1236, 800)),
}
"""Name of each screenshot: the browser test that takes it, its name there, and the crop out of 1280 × 1100 pixels."""

FIGURES = {"dagger": ("09_dagger", 0), "docking": ("14_custom_environment", -1)}
"""Name of each figure: the tutorial, and its number among the figures stored there."""


def main(kinds: list[str]) -> None:
    """Run the browser tests and crop what they saw; take the figures out of the tutorials."""
    if not kinds or "screenshots" in kinds:
        tests = dict.fromkeys(test for test, _, _ in SEEN.values())
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0", *tests], cwd=ROOT, check=True)
        for name, (_, taken, box) in SEEN.items():
            store(name, Image.open(ROOT / "output" / "browser" / f"{taken}.png").convert("RGB").crop(box))
    for name, (notebook, number) in FIGURES.items():
        store(name, Image.open(io.BytesIO(figures(notebook)[number])).convert("RGB"))


def figures(notebook: str) -> list[bytes]:
    """The figures stored in a tutorial, in order."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [base64.b64decode("".join(data["image/png"])) for data in outputs if "image/png" in data]


def store(name: str, picture: Image.Image) -> None:
    """Write a picture with 128 colours."""
    TARGET.mkdir(exist_ok=True)
    path = TARGET / f"{name}.png"
    picture.quantize(128).save(path, optimize=True)
    print(f"docs/images/{name}.png: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
