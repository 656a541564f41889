import numpy as np
import pytest
import torch as th

from imitation_lab.viz import tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (-0.5, "−0.5"),
        (123456.789, "123457"),
        (500.0, "500"),
        (0.0, "0"),
        (1e-7, "1.000e-07"),
        (7, "7"),
        (True, "yes"),
        (None, "–"),
        (float("nan"), "not defined"),
        (float("-inf"), "−∞"),
        ("text", "text"),
        (np.float32(0.25), "0.25"),
        (th.tensor(0.25), "0.25"),
    ],
)
def test_numbers_are_rounded(value, text):
    assert tables.format_number(value) == text


def test_text_table_aligns_names_left_and_numbers_right():
    table = tables.text_table([{"policy": "random", "mean": 22.0}, {"policy": "a", "mean": 500.125, "n": 3}])
    assert table.splitlines() == [
        "policy   mean  n",
        "------  -----  -",
        "random     22  –",
        "a       500.1  3",
    ]


def test_mapping_becomes_two_columns_and_digits_round():
    assert tables.text_table({"loss": 0.123456}, digits=2).splitlines()[-1] == "loss       0.12"


def test_html_is_escaped_and_has_header_cells():
    text = tables.html_table([{"<key>": "<b>", "mean": 1.5}], caption="a & b")
    assert "&lt;key&gt;" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "a &amp; b" in text
    assert 'scope="col"' in text
    assert 'scope="row"' in text
    assert ">1.5<" in text
