"""The evaluation card as a page that opens offline: numbers, intervals, and the best and worst frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vasomim.types import BoolImage, FloatImage
from vasomim.viz.charts import line_chart
from vasomim.viz.images import ERROR_COLORS, error_map
from vasomim.viz.pages import Cell, html_figure, html_gallery, html_legend, html_page, html_table

SIDE = 352
"""Longest side of a picture in the page, in pixels."""
NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "cldice": "clDice",
    "hd95": "HD95 (px)",
    "assd": "ASSD (px)",
    "betti0_error": "Betti-0 error",
    "betti1_error": "Betti-1 error",
    "betti_error": "Betti error",
}


class Picture(NamedTuple):
    """A frame as it was evaluated."""

    image: FloatImage
    pred: BoolImage
    target: BoolImage


class Shown(NamedTuple):
    """A frame of the gallery."""

    id: str
    values: Mapping[str, float]
    picture: Picture


def render_page(
    card: Mapping[str, Any], sorted_dice: Sequence[float], worst: Sequence[Shown] = (), best: Sequence[Shown] = ()
) -> str:
    """The whole page.

    Args:
        card: `EvaluationCard.to_dict()`.
        sorted_dice: Dice of each frame, ascending.
        worst: Frames to show as worst.
        best: Frames to show as best.
    """
    sections = [("Scores", _scores(card))]
    if "comparison" in card:
        sections.append(("Comparison", _comparison(card["comparison"])))
    sections += [(f"{name} frames", _gallery(shown)) for name, shown in (("Worst", worst), ("Best", best)) if shown]
    sections += [("By vessel width", _widths(card["by_width"])), ("Dice of each frame", _ranking(sorted_dice))]
    if "calibration" in card:
        sections.append(("Calibration", _calibration(card["calibration"])))
    if card["failures"]:
        rows = [[failure["id"], failure["reason"]] for failure in card["failures"]]
        sections.append(("Not measured", html_table(rows, ["frame", "reason"])))
    sections.append(("Protocol", _protocol(card["protocol"])))
    return html_page(
        "Evaluation",
        sections,
        footer="Research use only, not a medical device.",
        lead=f"{count_text(card)}. Means are of per-image values; intervals are 95 % bootstrap intervals.",
    )


def count_text(card: Mapping[str, Any]) -> str:
    """How many frames were measured, how many could not be, and how many the weights had learned."""
    failed, learned = len(card["failures"]), card["trained_on"]
    remarks = [f"{failed} could not be measured"] if failed else []
    remarks += [f"{learned} were trained on"] if learned else []
    return f"{card['n']} frames" + (f" ({', '.join(remarks)})" if remarks else "")


def _scores(card: Mapping[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [NAMES[name], number_text(score["mean"]), _interval(score["ci95"]), number_text(card["pooled"].get(name))]
        for name, score in card["metrics"].items()
    ]
    return html_table(rows, ["metric", "mean", "95 % interval", "pooled over pixels"])


def _comparison(comparison: Mapping[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [
            NAMES[name],
            number_text(result["mean"]),
            number_text(result["other_mean"]),
            number_text(result["difference"], sign=True),
            _interval(result["ci95"], sign=True),
            f"{result['p_value']:.2g}",
        ]
        for name, result in comparison["metrics"].items()
    ]
    caption = f"This evaluation minus {comparison['other']}, paired by frame. p: {comparison['test']}."
    return html_table(rows, ["metric", "this", "other", "difference", "95 % interval", "p"], caption)


def _gallery(shown: Sequence[Shown]) -> str:
    figures = [
        html_figure(
            error_map(frame.picture.image, frame.picture.pred, frame.picture.target),
            f"{frame.id}: Dice {frame.values['dice']:.3f}, clDice {frame.values['cldice']:.3f}, "
            f"precision {frame.values['precision']:.3f}, recall {frame.values['recall']:.3f}",
            max_side=SIDE,
        )
        for frame in shown
    ]
    return html_legend(ERROR_COLORS) + html_gallery(figures)


def _widths(by_width: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ["recall", "precision", "dice", "centreline_recall", "centreline_precision", "cldice"]
    rows: list[list[Cell]] = [
        [f"{name} px", *(number_text(row[column]) for column in columns), row["target_pixels"]]
        for name, row in by_width.items()
    ]
    header = ["width", *(column.replace("_", " ") for column in columns), "annotated pixels"]
    caption = "Pooled over frames. Recall by the width of the annotated vessel, precision by that of the predicted one."
    return html_table(rows, header, caption)


def _ranking(sorted_dice: Sequence[float]) -> str:
    points = [((k + 1) / len(sorted_dice) * 100, value) for k, value in enumerate(sorted_dice)]
    return line_chart({"Dice": points}, "Frames from worst to best", "share of frames (%)", "Dice")


def _calibration(calibration: Mapping[str, Any]) -> str:
    points = [(b["confidence"], b["frequency"]) for b in calibration["bins"] if b["pixels"]]
    chart = line_chart(
        {"observed": points, "ideal": [(0.0, 0.0), (1.0, 1.0)]},
        f"Expected calibration error {calibration['ece']:.4f}",
        "predicted probability",
        "share that is vessel",
    )
    return chart + "<p>Over all pixels of all frames; most are clear background, which keeps the error small.</p>"


def _protocol(protocol: Mapping[str, Any]) -> str:
    rows: list[list[Cell]] = []
    for name, value in protocol.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else value
        rows.append([name.replace("_", " "), None if text is None else str(text)])
    return html_table(rows, ["setting", "value"])


def number_text(value: float | None, *, sign: bool = False) -> str | None:
    """Four decimals, or None where there is no value."""
    if value is None:
        return None
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def _interval(bounds: Sequence[float], *, sign: bool = False) -> str:
    return f"{number_text(bounds[0], sign=sign)} to {number_text(bounds[1], sign=sign)}"
