"""What the model cards of the shipped weights say beside their numbers."""

# ruff: noqa: E501 - prose, a paragraph a line

from __future__ import annotations

from typing import Final, TypedDict


class Words(TypedDict):
    """The parts of a card that are no numbers."""

    about: str
    use: str
    data: str
    recipe: str
    measured: str
    limits: str


_ROWS: Final = {
    "outlines": "| ARCADE, vessel task, train | frames and vessel outlines | CC0 | Popov et al., Scientific Data 11:20, 2024 |",
    "arcade": "| ARCADE, vessel and stenosis tasks, train | frames | CC0 | Popov et al., Scientific Data 11:20, 2024 |",
    "danilov": "| Danilov et al., train patients | frames; no boxes | CC BY 4.0 | Danilov et al., Scientific Reports 11:7582, 2021; "
    "Mendeley Data, doi 10.17632/ydrm75xywg |",
    "synthetic": "| synthetic frames | frames and exact masks | made by `vasomim synthesize` | - |",
}
_SOURCES: Final = {
    "default": ("arcade", "outlines", "danilov", "synthetic"),
    "fast": ("outlines",),
    "encoder": ("arcade", "danilov"),
}


def attribution(name: str) -> str:
    """What weights were trained on, with licences and whom to cite."""
    rows = "\n".join(_ROWS[source] for source in _SOURCES[name])
    return f"""| data | part in training | licence | cite |
|---|---|---|---|
{rows}

No frame of any validation or test part, and none of XCAD or DCA1, was shown to a network in training. The weights may be used under the
licence of this software (Apache-2.0); whoever passes them on should keep this table."""


_MEASURED: Final = """Means of per-image values at native size unless a side is given, 95 % bootstrap intervals over frames. ARCADE outlines
main vessels alone, XCAD and DCA1 every vessel, so rows of different data sets are not comparable. ARCADE publishes no
patient ids: frames of one patient may lie on both sides of its split (three pairs of one run are known to). Of XCAD and
DCA1 the 1st, 3rd, ... frames had a part in choosing settings of the extraction, whose vessels are what trees are learned
from; the 2nd, 4th, ... had none."""

CARDS: Final[dict[str, Words]] = {
    "default": {
        "about": "Vessels in X-ray coronary angiograms: a ViT-Ti pre-trained with VasoMIM, and a convolutional decoder. "
        "Two outputs: `main`, the main vessels as ARCADE outlines them, and `full-tree`, every vessel that is seen.",
        "use": "`vasomim predict FRAMES` (main vessels), `vasomim predict FRAMES --weights full-tree`; "
        '`vasomim.Predictor.from_pretrained("default")`. Frames of any size, 8 or 16 bit, vessels dark; they are '
        "seen at 512 x 512 pixels or as many in their own aspect ratio, without empty borders.",
        "data": "Outlines of 95 % of ARCADE's `syntax/train` teach the main vessels; the rest set scale, shift and "
        "threshold. The tree is learned from these outlines together with extracted vessels, from extracted vessels of "
        "2,704 frames without labels (copies removed), and from 400 synthetic frames. The extraction is version 5, fitted "
        "to ARCADE and synthetic frames alone. The encoder's pre-training was guided by version 4, whose eight filter "
        "weights were fitted with 100 labelled frames of XCAD and DCA1, too; no network has seen those.",
        "recipe": "`benchmarks/make_weights.sh`: `finetune_default`, 1,300 steps of 16 crops of 416 px, AdamW 2e-3, layer "
        "decay 0.85, from the weights called `encoder`; then four times `finetune_default_next`: 1,150, 1,700 and 1,800 "
        "steps at 1e-3 with ever stronger changes of grey values, and 500 at 5e-4 with writing burned into 30 % of the crops; "
        "seeds 0, 1, 2 and 3. One CPU core. Used with the mirror image of a frame and two thresholds (docs/prediction.md); "
        "`--no-flip` takes half the time. Stored in 16 bit.",
        "measured": _MEASURED,
        "limits": "- Pieces that are nowhere surer than 0.9 and small beside the largest are left out of masks, of which a faint vessel that is cut off from its tree may be one; the probabilities keep them.\n"
        "- Side branches are no part of `main`; thin ones at the ends of vessels come and go, and a vessel that is faint over "
        "a stretch is broken there.\n"
        "- `full-tree` also paints catheters, guide wires and pacing leads, as the extraction that it learned from does, and "
        "at times ribs and the edge of the diaphragm; `main` mostly leaves them out.\n"
        "- At the border of a round field of view both may paint a blob on the black outside.\n"
        "- Trained on frames in which contrast agent fills the vessels: frames before it arrives give short stray pieces.\n"
        "- Coronary arteries alone. Bypass grafts, other organs and subtraction images were not in the training. Five "
        "frames of ARCADE's train part are in it twice, outlined anew: these masks agree to 0.74 to 0.94 Dice, 0.88 on average. "
        "Read scores near that as equal.\n"
        "- What pre-training is worth: at the length of the first stage the same network from scratch has 0.005 Dice "
        "[0.002, 0.009] and 0.008 clDice [0.003, 0.012] less on ARCADE val, in one training each, too few to call it a fact "
        "(docs/results.md). A convolutional U-Net of half nnU-Net's channels from scratch, shown a tenth of the crops at about four times "
        "the price of each, has 0.016 Dice [0.011, 0.021] and 0.023 clDice [0.016, 0.031] less, one training each, and more than "
        "the first stage alone. Not compared: this network from scratch over all stages, and longer U-Nets.",
    },
    "fast": {
        "about": "Main vessels in X-ray coronary angiograms on slow machines: UNeXt-S (Valanarasu & Patel, MICCAI 2022), "
        "253,417 parameters, from scratch.",
        "use": "`vasomim predict FRAMES --weights fast`; frames as for `default`.",
        "data": "Outlines of 95 % of ARCADE's `syntax/train`; the rest set scale, shift and threshold.",
        "recipe": "`benchmarks/make_weights.sh`: `finetune_fast`, 800 steps of 16 crops of 416 px, AdamW 4e-3, then `finetune_fast_next`, 2,000 at 2e-3 with stronger "
        "changes of grey values, and 500 at 1e-3 with writing burned into 30 % of the crops; seeds 0, 1 and 2, one CPU core. Stored in 16 bit.",
        "measured": _MEASURED,
        "limits": "As `default`; it sees less context, so that catheters and ribs are taken for vessels more often. Less accurate than "
        "`default` everywhere.",
    },
    "encoder": {
        "about": "A ViT-Ti/16 that has seen angiograms and no label: VasoMIM v2 (arXiv 2602.11536), one grey channel.",
        "use": "`vasomim finetune LABELLED --init encoder`; `vasomim.load_encoder`. Keys are timm's; "
        "`vasomim inspect encoder --export timm --out DIR` writes it for other libraries.",
        "data": "3,951 frames of ARCADE `syntax/train`, `stenosis/train` and Danilov (247 re-encoded copies among them), "
        "without labels. The extraction that guided it was version 4: its eight filter weights were fitted to labels of "
        "125 frames of ARCADE, 50 of XCAD and 50 of DCA1. No network has seen frames of the latter two.",
        "recipe": "`pretrain_laptop`: 2,400 steps of 16 crops of 224 px, AdamW 5e-4, co-guidance and consistency, on one CPU "
        "core. A ridge probe of its frozen tokens explains R² 0.63 of the vessel share of held-out patches; "
        "fine-tuned with all labels of ARCADE it gives 0.747 Dice at 224 px, scratch 0.728, one training each (docs/results.md). "
        "Stored in 16 bit.",
        "measured": "",
        "limits": "Pre-trained for a three-thousandth of the published budget (38,400 crops against 137 million): a start that "
        "helps, not the published model. With a tenth of ARCADE's labels and a short fine-tuning it made no difference "
        "to Dice.",
    },
}
