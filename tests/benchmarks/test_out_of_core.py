"""The memory benchmark runs at a small size and prints the peak."""

import re
import subprocess
import sys
from pathlib import Path


def test_it_prints_the_peak(tmp_path):
    script = Path(__file__).parent / "workloads" / "out_of_core.py"
    command = [sys.executable, str(script), "--transitions", "3000", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert re.search(r"trained on 2,816 transitions in .* −log π from \d+\.\d+ to ", done.stdout)
    assert re.search(r"peak memory [\d,]+ MB, of which [\d,]+ MB are the libraries", done.stdout)
    assert list(tmp_path.iterdir()) == []
