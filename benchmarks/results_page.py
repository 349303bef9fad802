"""Write docs/results.md from results/: no number of that page is typed by hand.

python benchmarks/results_page.py           # writes docs/results.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from main_table import CELLS, METHODS, ROWS

NAMES = {"scratch": "from scratch", "vasomim": "VasoMIM v2", "mae": "plain MAE"}
HEAD = """# Results

Written by `python benchmarks/results_page.py` from the files in `results/`; each file holds the command, the
commit, the versions and the hardware of its numbers. Means are of per-image values, fractions from 0 to 1;
brackets are 95 % bootstrap intervals over frames.
"""


def read(path: Path) -> Any:
    """A results file, or None where it has not been made."""
    return json.loads(path.read_text()) if path.is_file() else None


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    cells = [list(header), *map(list, rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]]) + "\n"


def interval(score: Any) -> str:
    """Mean and interval of a metric of an evaluation card."""
    low, high = score["ci95"]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def main_table() -> str:
    """Fine-tuning from scratch, VasoMIM and MAE; cells that were not run say so."""
    rows, spread = [], []
    for method, labels, seed in CELLS:
        row = read(ROWS / f"{method}_{labels}_{seed}.json")
        head = [NAMES[method], f"{float(labels):.0%}", str(seed)]
        if row is None:
            rows.append([*head, *["not run"] * 4])
            continue
        scores = row["evaluation"]["metrics"]
        rows.append([*head, *(interval(scores[name]) for name in ("dice", "cldice", "precision", "recall"))])
    for method in METHODS:
        found = [read(ROWS / f"{method}_0.1_{seed}.json") for seed in (0, 1)]
        if all(found):
            means = [[row["evaluation"]["metrics"][name]["mean"] for row in found] for name in ("dice", "cldice")]
            spread.append([NAMES[method], *(f"{sum(m) / 2:.3f} ± {abs(m[0] - m[1]) / 2:.3f}" for m in means)])
    text = table(["start", "labels", "seed", "Dice", "clDice", "precision", "recall"], rows)
    return text + "\nTwo seeds at 10 %: mean ± half the difference.\n\n" + table(["start", "Dice", "clDice"], spread)


def pretraining() -> str:
    """Held-out numbers of the two pre-trainings."""
    rows = []
    for method in ("vasomim", "mae"):
        row = read(ROWS / f"pretrain_{method}.json")
        if row is None:
            rows.append([NAMES[method], *["not run"] * 5])
        for at in row["validations"] if row else ():
            numbers = [at.get(f"val/{name}") for name in ("reconstruction", "consistency", "probe_r2")]
            shown = ["-" if number is None else f"{number:.3f}" for number in numbers]
            rows.append([NAMES[method], str(at["step"]), *shown, f"{row['samples_per_second']['median']:.1f}"])
    return table(["method", "step", "reconstruction", "consistency", "vessel probe R²", "frames/s"], rows)


def memory() -> str:
    """Peak memory by verb and number of frames."""
    content = read(Path("results/memory.json"))
    if content is None:
        return "Not run.\n"
    counts = list(content["mib"])
    verbs = content["mib"][counts[0]]
    rows = [[verb, *(f"{content['mib'][count][verb]['total_mib']} MiB" for count in counts)] for verb in verbs]
    return f"`{content['command']}`, {content['hardware']}.\n\n" + table(
        ["verb", *(f"{c} frames" for c in counts)], rows
    )


def extraction() -> str:
    """Extraction against labels: every source, both methods."""
    content = read(Path("results/extraction.json"))
    if content is None:
        return "Not run.\n"
    rows = [
        [name, method, f"{score['dice']:.3f}", f"{score['cldice']:.3f}"]
        for name, methods in content["scores"].items()
        for method, score in methods.items()
    ]
    return f"`{content['command']}`\n\n" + table(["frames", "method", "Dice", "clDice"], rows)


def page() -> str:
    """The whole page."""
    sections = {
        "Extraction without labels": extraction(),
        "Pre-training": PRETRAINING + pretraining(),
        "Fine-tuning on ARCADE, val at the paper's 224 px": MAIN + main_table(),
        "Memory": MEMORY + memory(),
    }
    return HEAD + "".join(f"\n## {title}\n\n{body}" for title, body in sections.items())


PRETRAINING = """ViT-Ti/16, decoder 128 x 2, 224 px, 700 steps of 16 (recipes `pretrain_laptop`, `mae_laptop`) on ARCADE
syntax/train, ARCADE stenosis/train and Danilov, 3,951 frames without labels and without any validation part;
one CPU core a run. Re-encoded copies of frames (247 in stenosis/train) were not removed. Held-out frames
under uniform masks. Random weights give a probe of about 0.18.

"""
MAIN = """ViT-Ti U-Net, 300 steps of 8 crops in every cell (recipe `finetune_laptop`), labels of ARCADE syntax/train
(union of the 25 classes, rasteriser `arcade-official`), scored on syntax/val (200 frames). Nothing was chosen
by val. The budgets are those of two CPU cores, a tiny fraction of the published ones (800 epochs of 171,478
frames): they show that the chain works on real frames and what so little training yields, not what the method
can do.

"""
MEMORY = """Peak resident memory of each command with its workers, laptop recipes, 512 px frames (`predict` and
`evaluate` see a tenth of the frames).

"""


if __name__ == "__main__":
    Path("docs/results.md").write_text(page())
    print("wrote docs/results.md")
