"""What the model cards of the shipped weights say beside their numbers."""

ATTRIBUTION = "\n".join(
    [
        "| data | part in training | licence | cite |",
        "|---|---|---|---|",
        "| ARCADE (vessel and stenosis tasks, train) | frames; vessel outlines of `syntax/train` | CC0 | "
        "Popov et al., Scientific Data 11:20, 2024 |",
        "| Danilov et al. (train patients) | frames without their boxes | CC BY 4.0 | "
        "Danilov et al., Scientific Reports 11:7582, 2021; Mendeley Data ydrm75xywg |",
        "| synthetic frames | frames and exact masks | made by `vasomim synthesize` | - |",
    ]
)
