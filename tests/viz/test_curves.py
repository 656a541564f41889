import numpy as np
import pytest

from imitation_lab.viz import curves, style


def test_series_from_list_of_dicts_skip_what_is_no_number():
    history = [{"batch": 5, "loss": 2.0, "note": "x"}, {"batch": 6, "loss": float("nan"), "acc": 1}]
    series = curves.as_series(history, x="batch")
    np.testing.assert_array_equal(series["loss"][0], [5])
    np.testing.assert_array_equal(series["acc"], ([6], [1]))
    assert "note" not in series


def test_series_from_a_data_frame_and_from_pairs():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"step": [1, 2], "loss": [3.0, 4.0]})
    np.testing.assert_array_equal(curves.as_series(frame, x="step")["loss"], ([1, 2], [3, 4]))
    np.testing.assert_array_equal(curves.as_series({"loss": ([1], [2])})["loss"], ([1], [2]))


def test_smoothing_is_the_bias_corrected_moving_average():
    # m1 = 0.5·4 / 0.5 = 4; m2 = (0.5·2 + 0.5·8) / 0.75 = 20/3
    np.testing.assert_allclose(curves.smooth(np.array([4.0, 8.0]), 0.5), [4.0, 20 / 3])
    np.testing.assert_array_equal(curves.smooth(np.array([4.0, 8.0]), 0.0), [4, 8])


def test_training_curves_draw_the_numbers_and_the_references():
    history = {"bc/loss": ([0, 1, 2], [3.0, 2.0, 1.0]), "val/loss": ([0, 2], [4.0, 2.0]), "acc": ([0], [0.5])}
    figure = curves.training_curves(
        history, keys=[("bc/loss", "val/loss"), "acc"], references={"acc": {"expert": 1.0}}, x_label="batch"
    )
    first, second = figure.axes
    np.testing.assert_array_equal(first.lines[0].get_ydata(), [3, 2, 1])
    np.testing.assert_array_equal(first.lines[1].get_xdata(), [0, 2])
    assert first.get_title(loc="left") == "loss"
    assert second.lines[1].get_color() == style.ORANGE
    assert first.get_xlabel() == "batch"
    assert "acc" in figure.alt


def test_training_curves_refuse_unknown_keys_and_bad_smoothing():
    with pytest.raises(ValueError, match=r"no \['lost'\]; it has \['loss'\]"):
        curves.training_curves({"loss": ([1], [1])}, keys=["lost"])
    with pytest.raises(ValueError, match=r"smoothing must lie in \[0, 1\)"):
        curves.training_curves({"loss": ([1], [1])}, smoothing=1.0)
    assert "nothing yet" in curves.training_curves([]).alt


def test_long_histories_are_thinned():
    n = 10 * curves.MAX_POINTS
    figure = curves.training_curves({"loss": (np.arange(n), np.ones(n))})
    assert len(figure.axes[0].lines[0].get_xdata()) == curves.MAX_POINTS


def test_mean_and_standard_error():
    # sample variance of 1, 3 is 2, so the error is sqrt(2 / 2)
    assert curves.mean_and_error([1.0, 3.0]) == (2.0, 1.0, 2)
    assert np.isnan(curves.mean_and_error([5.0])[1])
    with pytest.raises(ValueError, match="empty sample"):
        curves.mean_and_error([])


def test_returns_bar_shows_mean_error_and_n():
    figure = curves.returns_bar({"random": [1.0, 3.0], "expert": [500.0]})
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 500.0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["random\n2 ± 1 (n = 2)", "expert\n500 (n = 1)"]
    assert curves.returns_table({"a": [1.0, 3.0]}) == [{"policy": "a", "mean": 2.0, "s.e.": 1.0, "n": 2}]
    with pytest.raises(ValueError, match="at least one policy"):
        curves.returns_bar({})


def test_sweep_draws_means_and_checks_lengths():
    figure = curves.sweep_plot([1, 10], {"BC": [[1.0, 3.0], [4.0]]}, references={"expert": 5.0}, log_x=True)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "BC")
    np.testing.assert_array_equal(line.get_ydata(), [2, 4])
    assert figure.axes[0].get_xscale() == "log"
    with pytest.raises(ValueError, match="'BC' has runs for 1 settings, x has 2"):
        curves.sweep_plot([1, 2], {"BC": [[1.0]]})
