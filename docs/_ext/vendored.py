"""The JavaScript of widgets and formulas, from npm, so that the site needs no other site.

Each package is fetched once, checked against its SHA-512, and kept in `_build/vendor`: `static` goes beside our own
static files, `extra` to the root of the site. Where npm cannot be reached, the pages take the same scripts from a CDN.
"""

import base64
import hashlib
import io
import pathlib
import shutil
import sys
import tarfile
import urllib.request

REGISTRY = "https://registry.npmjs.org"
PACKAGES = {
    "@jupyter-widgets/html-manager/-/html-manager-1.0.15.tgz": (
        "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        {
            "static/vendor/embed-amd.js": "package/dist/embed-amd.js",
            # The icons of buttons: its style sheets look for them in these two places beside a page.
            **{
                f"extra/notebooks/@jupyter-widgets/{place}{font}.woff2": f"package/dist/{font}.woff2"
                for place in ("", "html-manager/dist/")
                for font in ("1551f4f60c37af51121f", "7a3337626410ca2f4071")
            },
        },
    ),
    "requirejs/-/requirejs-2.3.8.tgz": (
        "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        {"static/vendor/require.js": "package/require.js"},
    ),
    "mathjax/-/mathjax-3.2.2.tgz": (
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        {"static/vendor/tex-svg.js": "package/es5/tex-svg.js"},
    ),
}
"""Address in the registry: SHA-512 in base64, and our files with what they are in the package."""

MATHJAX = "vendor/tex-svg.js"
WIDGETS = {"vendor/require.js": {}, "widgets.js": {}, "vendor/embed-amd.js": {}}
"""What myst-nb loads on a page with widgets, in this order."""

ANYWIDGET = pathlib.Path(sys.prefix, "share", "jupyter", "nbextensions", "anywidget", "index.js")


def fetch(folder: pathlib.Path, timeout: float = 60) -> bool:
    """Put the scripts into `folder`, unless they are there; return whether they are."""
    try:
        for address, (digest, files) in PACKAGES.items():
            if not all((folder / name).exists() for name in files):
                _unpack(_download(address, digest, timeout), files, folder)
    except OSError as error:
        print(f"{REGISTRY} cannot be reached ({error}): widgets and formulas on the pages will need a CDN")
        return False
    if ANYWIDGET.exists():
        shutil.copy(ANYWIDGET, folder / "static" / "vendor" / "anywidget.js")
    return True


def _download(address: str, digest: str, timeout: float) -> bytes:
    with urllib.request.urlopen(f"{REGISTRY}/{address}", timeout=timeout) as answer:
        content = answer.read()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != digest:
        raise ValueError(f"{address} has the SHA-512 {found}, expected {digest}")
    return content


def _unpack(content: bytes, files: dict[str, str], folder: pathlib.Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name, member in files.items():
            source = archive.extractfile(member)
            assert source is not None
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".part")
            partial.write_bytes(source.read())
            partial.rename(target)
