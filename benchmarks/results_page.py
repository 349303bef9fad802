"""Write docs/results.md from results/: no number of that page is typed by hand.

python benchmarks/results_page.py           # writes docs/results.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vasomim.benchmarks.methods.analysis import Rows
from vasomim.benchmarks.methods.catalogue import ABLATION_BASELINES, ABLATIONS, MAIN
from vasomim.benchmarks.methods.rows import check_comparable, read_rows
from vasomim.benchmarks.methods.table import (
    Shown,
    difference_figure,
    difference_table,
    efficiency_figure,
    markdown,
    pretraining_table,
    score_table,
    shown,
    summary_table,
)
from vasomim.engine.evaluation_page import NAMES
from vasomim.files import write_text

MARKS = ("<!-- results: written by benchmarks/results_page.py -->", "<!-- end of results -->")
SCORES = ("dice", "cldice", "precision", "recall")
SOURCES = {"arcade": "ARCADE val", "xcad": "XCAD, every other", "dca1": "DCA1, every other"}
ROWS, IMAGES = Path("results/main_table"), Path("docs/images")
CPU_LIST = (
    "scratch",
    "scratch_flat",
    "unet_half",
    "mae",
    "pseudo_labels",
    "pseudo_labels_third",
    "vasomim_v1",
    "vasomim",
)
HEAD = """# Results

Written by `python benchmarks/results_page.py` from the files in `results/`. Each holds its command; rows of
methods and of weights also the commit and the hardware. Means are of per-image values, fractions from 0 to 1;
brackets are 95 % intervals, over frames unless it says otherwise.
"""


def read(path: Path) -> Any:
    """A results file, or None where it has not been made."""
    return json.loads(path.read_text()) if path.is_file() else None


def interval(score: Any) -> str:
    """Mean and interval of a metric of an evaluation card."""
    low, high = score["ci95"]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def grid_rows() -> Rows:
    """The rows of the grid; those of a table must be comparable."""
    rows = read_rows(ROWS)
    check_comparable(rows)
    return rows


def of_grid(rows: Rows, methods: Sequence[str]) -> Shown:
    """These methods at the shares of labels that any cell has, 10 % and 100 % at least."""
    return shown(methods, sorted({0.1, 1.0, *(float(cell.labels) for cell in rows)}))


def compared(rows: Rows) -> Shown:
    """The methods a CPU can run in a day, and any other that has a row."""
    others = [name for name in MAIN if name not in CPU_LIST and any(cell.method == name for cell in rows)]
    return of_grid(rows, [*CPU_LIST, *others])


def methods() -> str:
    """Means, paired tests and figures of the methods."""
    rows = grid_rows()
    of = compared(rows)
    write_text(IMAGES / "label_efficiency.svg", efficiency_figure(rows, of))
    write_text(IMAGES / "differences.svg", difference_figure(rows, of))
    parts = [
        MAIN_TEXT,
        summary_table(rows, of),
        summary_table(rows, of, "cldice"),
        EFFICIENCY,
        PAIRED,
        difference_table(rows, of),
        DIFFERENCES,
    ]
    return "\n".join([*parts, ALL_SCORES, score_table(rows, of, {name: method.tried for name, method in MAIN.items()})])


def ablations() -> str:
    """VasoMIM with one thing changed, as far as it was run."""
    rows = grid_rows()
    done = [name for name in ABLATIONS if any(cell.method == name for cell in rows)]
    if not done:
        return ABLATION_TEXT + "Not run.\n"
    of = of_grid(rows, [*ABLATION_BASELINES, *done])
    write_text(IMAGES / "ablations.svg", difference_figure(rows, of))
    figure = "![Paired differences of the ablations](images/ablations.svg)\n"
    return "\n".join([ABLATION_TEXT, summary_table(rows, of), difference_table(rows, of), figure])


def memory() -> str:
    """Peak memory by verb and number of frames."""
    content = read(Path("results/memory.json"))
    if content is None:
        return "Not run.\n"
    counts = list(content["mib"])
    verbs = content["mib"][counts[0]]
    rows = [[verb, *(f"{content['mib'][count][verb]['total_mib']} MiB" for count in counts)] for verb in verbs]
    return f"`{content['command']}`, {content['hardware']}.\n\n" + markdown(
        ["verb", *(f"{c} frames" for c in counts)], rows
    )


def weights() -> str:
    """The weights of the package on frames they never saw, and what the papers report beside."""
    rows = []
    for name in SHIPPED_SEGMENTERS:
        content = read(Path("results/weights") / f"{name}.json") or {"evaluations": {}}
        for title, card in content["evaluations"].items():
            scores = [interval(card["metrics"][score]) for score in (*SCORES, "betti_error")]
            used = card["protocol"]["weights"]["name"]
            rows.append([f"`{used}`", title, str(card["n"]), *scores, f"{card['calibration']['ece']:.3f}"])
            if half := card.get("not_chosen_on"):
                of_half = [interval(half[score]) for score in SCORES]
                rows.append([f"`{used}`", "of these, not chosen on", str(half["n"]), *of_half, "-", "-"])
    if not rows:
        return "Not run.\n"
    header = ["weights", "frames", "n", "Dice", "clDice", "precision", "recall", "Betti error", "calibration error"]
    return markdown(header, rows)


def controls() -> str:
    """Runs of the recipe of `default` that differ in one thing, and their differences from the first."""
    rows, differences = [], []
    for name, content in (read(Path("results/controls.json")) or {}).items():
        for size, card in content["evaluations"].items():
            rows.append([CONTROLS[name], size, *(interval(card["metrics"][score]) for score in SCORES)])
            for score, found in card.get("difference", {}).items():
                if score in ("dice", "cldice"):
                    low, high = found["ci95"]
                    difference = f"{found['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
                    pair = f"{CONTROLS[name]} - {CONTROLS[content['against']]}"
                    differences.append([pair, size, NAMES[score], difference, f"{found['p_value']:.2g}"])
    if not rows:
        return "Not run.\n"
    scores = markdown(["training", "size", "Dice", "clDice", "precision", "recall"], rows)
    return f"{scores}\n{markdown(['pair', 'size', 'metric', 'difference', 'p'], differences)}"


def extraction() -> str:
    """Extraction against labels: every source, both methods."""
    content = read(Path("results/extraction.json"))
    if content is None:
        return "Not run.\n"
    rows = [
        [SOURCES[source], method, *(interval(score[name]) for name in SCORES), f"{score['ms']:.0f}"]
        for source, methods in content["results"].items()
        for method, score in methods.items()
    ]
    header = ["frames", "method", "Dice", "clDice", "precision", "recall", "ms a frame, one core"]
    return f"`{content['command']}`, rasteriser `{content['rasteriser']}`.\n\n" + markdown(header, rows)


def page() -> str:
    """The whole page."""
    sections = {
        "Extraction without labels": extraction(),
        "Pre-training": PRETRAINING + pretraining_table(ROWS, CPU_LIST),
        "Fine-tuning on ARCADE, val at the paper's 224 px": methods(),
        "Ablations": ablations(),
        "Weights of the package": WEIGHTS + weights() + PAPERS,
        "What pre-training is worth at the recipe of `default`": CONTROL_TEXT + controls(),
        "Memory": MEMORY + memory(),
    }
    return HEAD + "".join(f"\n## {title}\n\n{body}" for title, body in sections.items())


PRETRAINING = """ViT-Ti/16, decoder 128 x 2, 224 px, 2,400 steps of 16 (recipes `*_laptop`) on
ARCADE syntax/train, ARCADE stenosis/train and Danilov, 3,951 frames without labels and without any validation
part; one CPU core a run, shared with other work. Re-encoded copies of frames (247 in stenosis/train) were not
removed. Held-out frames under uniform masks, at the last step. Frames
a second tell what else the machine did; what a step costs stands in docs/methods.md.

"""
MAIN_TEXT = """`vasomim benchmark methods` (docs/methods.md): 400 steps of 16 crops in every cell (recipe
`finetune_laptop`, ViT-Ti U-Net; `unet_half_laptop` for the U-Net), labels of ARCADE syntax/train (union of the 25
classes, rasteriser `arcade-official`), scored on syntax/val (200 frames). Nothing was chosen by val. Rows were
scored before empty borders were left out at prediction. VasoMIM's guide
(extraction version 4) was fitted, in eight weights, on 225 labelled frames, 125 of them of syntax/train: it has
indirectly seen their labels.
The budgets are those of two CPU cores, a tiny fraction of the published ones (800 epochs of 171,478
frames): they show that the chain works on real frames and what so little training yields, not what the method
can do. Of the learning rate, 1e-3 and 3e-3 were tried from scratch on frames of train set aside (0.612 and 0.621
Dice after 100 steps, `results/experiments.json`); the recipe takes 2e-3. With all labels VasoMIM v2 lies above plain
MAE and MAE above scratch, on one training each, which says little of the next; with a tenth of them VasoMIM v1 lies
0.007 above plain MAE on two, too few to tell. No start without labels is ahead of scratch there after these 400 steps,
which is a negative result. Supervised pre-training on extracted vessels, a third of the steps and so about as long as
VasoMIM's, has the highest Dice, 0.012 above scratch in two seeds whose spread still leaves 0 inside the interval; it
starts with a trained decoder, too, and its masks are of extraction version 5, whose eight weights were fitted on 125
labelled frames of syntax/train. A convolutional U-Net of half nnU-Net's channels, from scratch and at
the price of the ViT's, is level in Dice with scratch and has the highest clDice. The layer decay of fine-tuning does
not hold scratch back: with one learning rate for all blocks it scores less with all labels.

Means over seeds and frames. Brackets: 95 % intervals over frames and, where there are several, over seeds; a
cell of one seed says nothing of other trainings.
"""
EFFICIENCY = """![Dice over the share of labels, with intervals](images/label_efficiency.svg)
"""
PAIRED = """Differences on the same seeds and frames. p: sign-flip permutation test over frames, seeds averaged; it
speaks of these trainings. Corrected by Holm for the lines of this table. A difference holds where the corrected p is
below 0.05, the interval over frames and seeds leaves 0 out, and three seeds were trained; where only they are missing,
it says few seeds. Pairs of which a cell was not run are left out.
"""
DIFFERENCES = """![Paired differences; filled dots hold](images/differences.svg)
"""
ALL_SCORES = """All scores; `tried` is how many configurations of that method alone were tried on frames of train
set aside.
"""
ABLATION_TEXT = """VasoMIM v2 with one thing changed, by `vasomim benchmark methods --methods ablations`, against the
full method and against plain MAE. Plain MAE, guidance alone, consistency alone and v2 are the four cells of the paper's
table. With a tenth of the labels, two seeds and the budget above none of them differs from another in a way that holds.

"""
README_EXTRACTION = """Vessels extracted without labels at run time, against expert masks. The eight weights of
`default` were fitted to 125 labelled training frames of ARCADE and to synthetic frames; the frames scored are others.

"""
README_WEIGHTS = """The weights of the package on frames they never saw (`results/weights/`, docs/weights.md); of
XCAD and DCA1 the parts that are called train. No network was trained on these, but settings of the extraction, whose
vessels `full-tree` learns from, were chosen on half of them; the other half has rows of its own:

"""
WEIGHTS = """`python benchmarks/release.py measure NAME`. `full-tree` is the second output of `default`. No frame of
XCAD and DCA1, and none of ARCADE's val, was shown to a network in training, and no weights were chosen by them. But
the encoder of `default` was guided by an extraction whose eight weights had been fitted to labels of 50 frames of each
of XCAD and DCA1, and the last step of the present one, which trees are learned from, was chosen on the same frames: the
rows "not chosen on" are of the 50 others. XCAD and DCA1 draw whole trees, ARCADE main vessels.

"""
PAPERS = """
What the papers report on ARCADE's vessel task, 224 px, all labels, from 171,478 pre-training frames on GPUs (ViT-B;
arXiv 2602.11536, its own test frames): U-Net from scratch 71.44 Dice / 70.67 clDice, MAE 79.39 / 80.74, VasoMIM v2
80.25 / 82.06, and v2 with 10 % of the labels 76.01 Dice. The row of `default` at 224 px is of ARCADE's val
part, after five stages of fine-tuning: it stands beside these numbers and is no paired comparison with them. What the
same recipe comes to with a tenth of the labels stands below.
"""
SHIPPED_SEGMENTERS = ("default", "fast")
CONTROLS = {
    "encoder": "from the encoder, 950 labels",
    "scratch": "from scratch, 950 labels",
    "encoder_tenth": "from the encoder, 95 labels",
    "encoder_tenth_at_half": "the same, cut at 0.5",
    "scratch_tenth": "from scratch, 95 labels",
    "default": "`default` as shipped, five stages",
    "unet": "convolutional U-Net from scratch, 950 labels",
}
"""Rows of results/controls.json, in words."""
CONTROL_TEXT = """`python benchmarks/controls.py NAME=RUN`, ARCADE val, recipe `finetune_default`, seed 0, one
training each, so that a difference says little of the next training. "From the encoder" and "from scratch" differ in
the start alone. With 950 labels they are the first stage of `default` (1,300 steps of 16 crops), not mirrored. With
95 labels, a tenth of what the holdout leaves, they are 1,000 steps, mirrored, by newer code: to be read beside the
paper's 76.01 Dice with a tenth of the labels, not against the rows with 950. Their trees come from frames without
labels as in the recipe; scale, shift and thresholds were fitted to the 50 labelled frames held out, and "cut at 0.5"
does without these. The extractions that guided the encoder and made the trees have eight weights fitted to 125
labelled frames of syntax/train.

The U-Net is `unet_half` (half nnU-Net's channels, 5.2 million parameters; docs/methods.md), `--stride 1 --lr 1e-3
--no-learn --img-size 448 --batch-size 8` on the recipe of `default`: labels alone, 1,300 steps of 8 crops on two
processes, mirrored: half the crops of the first stage of `default`, a tenth of those of its five, but each crop costs
about four times as much (results/finetune_cost.json, by pixels). `default` as it ships is ahead of it. Its first stage
alone is behind: mirrored, the 50 held-out frames have 0.778 Dice after it, and 0.801 from the U-Net
(docs/experiments.md). What carries `default` past this U-Net is the length of its training, which its cheap step
allows, and not its start. Longer U-Nets, and all of nnU-Net's channels, were not run (benchmarks/gpu/README.md).

"""
MEMORY = """Peak resident memory of each command with its workers, laptop recipes, 512 px frames (`predict` and
`evaluate` see a tenth of the frames).

"""


def update_readme(path: Path) -> None:
    """Replace what stands between the two marks of the README."""
    before, rest = path.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    rows = grid_rows()
    tables = [summary_table(rows, compared(rows), metric) for metric in ("dice", "cldice")]
    parts = [README_WEIGHTS + weights(), README_EXTRACTION + extraction(), MAIN_TEXT, *tables]
    body = "".join(f"\n{part}" for part in parts) + "\n"
    path.write_text(before + MARKS[0] + body + MARKS[1] + after)


if __name__ == "__main__":
    Path("docs/results.md").write_text(page())
    update_readme(Path("README.md"))
    print("wrote docs/results.md and the results in README.md")
