"""The figure of a normalization layer: statistics over batches, histograms before and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist

from imitation_lab.viz import style
from imitation_lab.viz.normalization_trace import NormalizationRecorder, NormalizationTrace

__all__ = ["NormalizationPanel", "NormalizationRecorder", "NormalizationTrace", "normalization_panel"]

DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")


class NormalizationPanel:
    """The normalization figure of one feature, whose cursor and histograms move from batch to batch."""

    @style.styled
    def __init__(self, trace: NormalizationTrace, feature: int | str = 0, *, updating: bool = True) -> None:
        self.trace, self.updating = trace, updating
        self.i = trace.index(feature)
        figure = style.LabFigure(figsize=(9.0, 4.6), dpi=style.DPI, layout="constrained")
        grid = figure.add_gridspec(2, 6, height_ratios=(1.0, 1.1))
        self.figure = figure
        self.top = [figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(3)]
        self.bottom = [figure.add_subplot(grid[1, 3 * k : 3 * k + 3]) for k in range(2)]
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
        self.cursors = []
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
            self.cursors.append(axes.axvline(0, color=style.BLACK, linewidth=1, alpha=0.8))
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
        self.raw = raw.stairs(np.zeros(trace.raw_histogram.shape[2]), trace.raw_edges[i], fill=True,
                              color=style.GREY, alpha=0.75)  # fmt: skip
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
        self.label = raw.text(1.0, 1.03, "", transform=raw.transAxes, ha="right", va="bottom", fontsize=10)

    @property
    def artists(self) -> list[Artist]:
        """What moves."""
        return [*self.cursors, self.raw, *self.outputs, self.label]

    def show(self, batch: int) -> None:
        """Move to ``batch``."""
        trace, i = self.trace, self.i
        for cursor in self.cursors:
            cursor.set_xdata([batch, batch])
        self.raw.set_data(trace.raw_histogram[batch, i])
        for stairs, layer in zip(self.outputs, trace.layers, strict=True):
            stairs.set_data(trace.series[layer, self.updating].histogram[batch, i])
        self.label.set_text(f"batch {batch}: mean {style.plain(trace.batch_mean[batch, i], 3)}")

    def pngs(self, batches: Sequence[int]) -> list[bytes]:
        """Return one PNG per batch."""
        return style.animated_pngs(self.figure, self.artists, self.show, batches)


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
    panel = NormalizationPanel(trace, feature, updating=updating)
    panel.show(range(len(trace))[batch])
    return panel.figure
