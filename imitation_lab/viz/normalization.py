"""The figure of a normalization layer: statistics over batches, histograms before and after."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.patches import StepPatch

from imitation_lab.viz import style
from imitation_lab.viz.normalization_trace import NormalizationRecorder, NormalizationTrace
from imitation_lab.viz.panel import Panel

__all__ = ["NormalizationPanel", "NormalizationRecorder", "NormalizationTrace", "normalization_panel"]

DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")


class NormalizationPanel(Panel):
    """The normalization figure of one feature, whose cursor and histograms move from batch to batch."""

    @style.styled
    def __init__(self, trace: NormalizationTrace, feature: int | str = 0, *, updating: bool = True) -> None:
        self.trace, self.updating = trace, updating
        self.i = trace.index(feature)
        figure, self.top, self.bottom = style.three_over_two((9.0, 4.6), height_ratios=(1.0, 1.1))
        super().__init__(figure, len(trace))
        name = trace.features[self.i]
        self.name = style.with_unit(name, trace.units[self.i])
        self._histograms()
        self._statistics()
        mode = "updating" if updating else "frozen"
        figure.suptitle(f"{self.name}: statistics {mode}", fontsize=12, fontweight="bold", x=0.01, ha="left")
        figure.alt = (
            f"Running mean, variance and count of {name} over {len(trace)} batches for {', '.join(trace.layers)}, "
            f"statistics {mode}, with histograms of raw and normalized values."
        )

    def _statistics(self) -> None:
        trace, i = self.trace, self.i
        batches = np.arange(len(trace))
        own = [trace.batch_mean[:, i], trace.batch_var[:, i], None]
        unit = trace.units[i]
        titles = [style.with_unit("mean", unit), style.with_unit("variance", f"({unit})²" if unit else None), "count"]
        dots_every = -(-len(batches) // 200)
        for k, axes in enumerate(self.top):
            dots = own[k]
            if dots is not None:
                axes.plot(batches[::dots_every], dots[::dots_every], ".", color=style.GREY, markersize=4,
                          alpha=0.6, label="batch alone")  # fmt: skip
            drawn = False
            for j, layer in enumerate(trace.layers):
                s = trace.series[layer, self.updating]
                line = (s.mean[:, i], s.var[:, i], s.count)[k]
                if np.isfinite(line).any():
                    dashes = DASHES[j % 4]
                    axes.plot(batches, line, color=style.PALETTE[j % len(style.PALETTE)], linestyle=dashes, label=layer)
                    drawn = True
            if not drawn and k == 2:
                style.empty_note(axes, "keeps no running\nstatistics")
                axes.set_yticks([])
            axes.set_title(titles[k])
            axes.set_xlabel("batch")
            axes.set_xlim(-0.03 * len(trace), 1.03 * max(1, len(trace) - 1))
            self._cursor(axes, lambda batch: batch, linewidth=1, alpha=0.8)
        handles, names = self.top[0].get_legend_handles_labels()
        if len(handles) == 1:  # layers without statistics still colour the histogram
            handles += self.outputs
            names += list(trace.layers)
        self.figure.legend(
            handles, names, loc="upper right", ncols=len(names), fontsize=9, frameon=False, borderpad=0.1
        )

    def _histograms(self) -> None:
        trace, i = self.trace, self.i
        raw, normalized = self.bottom
        bars = raw.stairs(np.zeros(trace.raw_histogram.shape[2]), trace.raw_edges[i], fill=True, color=style.GREY,
                          alpha=0.75)  # fmt: skip
        self._moves(partial(self._fill, bars, trace.raw_histogram), bars)
        raw.set_ylim(0, max(1e-6, trace.raw_histogram[:, i].max() * 1.15))
        raw.set_title("this batch, raw")
        raw.set_xlabel(self.name)
        raw.set_ylabel("share of the batch")
        self.outputs = []
        for j, layer in enumerate(trace.layers):
            color, dashes = style.PALETTE[j % len(style.PALETTE)], DASHES[j % 4]
            stairs = normalized.stairs(np.zeros(trace.raw_histogram.shape[2]), trace.edges[i], linewidth=2,
                                       color=color, linestyle=dashes, label=layer, fill=False)  # fmt: skip
            self.outputs.append(stairs)
            self._moves(partial(self._fill, stairs, trace.series[layer, self.updating].histogram), stairs)
        edges = trace.edges[i]
        centres = (edges[1:] + edges[:-1]) / 2
        normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi) * np.diff(edges)
        (curve,) = normalized.plot(centres, normal, color=style.BLACK, linewidth=1, alpha=0.6, label="N(0, 1)")
        peak = max(trace.series[layer, self.updating].histogram[:, i].max() for layer in trace.layers)
        normalized.set_ylim(0, max(1e-6, peak * 1.15, normal.max() * 1.15))
        normalized.set_title("this batch, normalized")
        normalized.set_xlabel("normalized value [standard deviations]")
        normalized.legend(handles=[curve], loc="upper right", fontsize=9)
        # above the axes: inside, the tallest bar would run through it
        label = raw.text(1.0, 1.03, "", transform=raw.transAxes, ha="right", va="bottom", fontsize=10)
        mean = lambda batch: style.plain(trace.batch_mean[batch, i], 3)
        self._moves(lambda batch: label.set_text(f"batch {batch}: mean {mean(batch)}"), label)

    def _fill(self, stairs: StepPatch, shares: np.ndarray, batch: int) -> None:
        stairs.set_data(shares[batch, self.i])


def normalization_panel(
    trace: NormalizationTrace, feature: int | str = 0, batch: int = -1, *, updating: bool = True
) -> style.LabFigure:
    """Running statistics over all batches, and the histograms of one batch, raw and normalized.

    Args:
        trace: what the layers did.
        feature: number or name.
        batch: which batch the histograms show; negative counts from the end.
        updating: statistics that move with every batch, or frozen ones.
    """
    return NormalizationPanel(trace, feature, updating=updating).at(batch)
