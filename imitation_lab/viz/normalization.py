"""The figure of a normalization layer: statistics over batches, histograms before and after."""

from typing import Any

import numpy as np

from imitation_lab.viz import style
from imitation_lab.viz.normalization_trace import NormalizationRecorder, NormalizationTrace
from imitation_lab.viz.panel import Panel

__all__ = ["NormalizationPanel", "NormalizationRecorder", "NormalizationTrace", "normalization_panel"]

DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")


class NormalizationPanel(Panel):
    """The normalization figure of one feature, whose cursor and histograms move from batch to batch."""

    @style.styled
    def __init__(self, trace: NormalizationTrace, feature: int | str = 0, *, updating: bool = True) -> None:
        self.trace, self.updating, self.i = trace, updating, trace.index(feature)
        self.looks = {
            layer: {"color": style.PALETTE[j % len(style.PALETTE)], "linestyle": DASHES[j % 4]}
            for j, layer in enumerate(trace.layers)
        }
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
        unit = trace.units[i]
        panels = (
            ("mean", unit, trace.batch_mean, "mean"),
            ("variance", f"({unit})²" if unit else None, trace.batch_var, "var"),
            ("count", None, None, "count"),
        )
        dots_every = -(-len(batches) // 200)
        for axes, (title, of, own, name) in zip(self.top, panels, strict=True):
            if own is not None:
                axes.plot(batches[::dots_every], own[::dots_every, i], ".", color=style.GREY, markersize=4,
                          alpha=0.6, label="batch alone")  # fmt: skip
            lines = {layer: getattr(trace.series[layer, self.updating], name) for layer in trace.layers}
            for layer, line in lines.items():
                line = line if line.ndim == 1 else line[:, i]
                if np.isfinite(line).any():
                    axes.plot(batches, line, label=layer, **self.looks[layer])
            if own is None and not axes.lines:
                style.empty_note(axes, "keeps no running\nstatistics")
                axes.set_yticks([])
            axes.set(title=style.with_unit(title, of), xlabel="batch")
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
        at = lambda shares: lambda batch: shares[batch, i]
        self._histogram(raw, trace.raw_edges[i], at(trace.raw_histogram), fill=True, color=style.GREY, alpha=0.75)
        raw.set_ylim(0, max(1e-6, trace.raw_histogram[:, i].max() * 1.15))
        raw.set(title="this batch, raw", xlabel=self.name, ylabel="share of the batch")
        edges = trace.edges[i]
        shares = {layer: trace.series[layer, self.updating].histogram for layer in trace.layers}
        self.outputs = [
            self._histogram(normalized, edges, at(of), linewidth=2, label=layer, fill=False, **self.looks[layer])
            for layer, of in shares.items()
        ]
        centres = (edges[1:] + edges[:-1]) / 2
        normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi) * np.diff(edges)
        (curve,) = normalized.plot(centres, normal, color=style.BLACK, linewidth=1, alpha=0.6, label="N(0, 1)")
        peak = max(of[:, i].max() for of in shares.values())
        normalized.set_ylim(0, max(1e-6, peak * 1.15, normal.max() * 1.15))
        normalized.set(title="this batch, normalized", xlabel="normalized value [standard deviations]")
        normalized.legend(handles=[curve], loc="upper right", fontsize=9)
        # above the axes: inside, the tallest bar would run through it
        told = lambda batch: f"batch {batch}: mean {style.plain(trace.batch_mean[batch, i], 3)}"
        self._text(raw, 1.0, 1.03, told, ha="right", va="bottom", fontsize=10)


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
