#!/usr/bin/env bash
# What the weights called `default` are held against: OUT=DIR benchmarks/gpu/controls.sh PACKS [flags of `vasomim finetune`]
# Its network from the encoder of the package and from scratch, and nnU-Net's U-Net: as many steps, crops and labels each.
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"
runs=$runs/controls
device=(--device "${DEVICE:-cuda}")
unpack >&2
for arm in ${ARMS:-encoder scratch unet}; do
    how=(--init "$arm")
    [[ $arm != unet ]] || how=(--model unet_plain --stride 1 --lr 1e-3 --img-size 448)  # a multiple of 64
    run="$runs/$arm"
    $vasomim finetune "$runs/data/train" --out "$run" --config finetune_default --no-learn --steps 6000 "${device[@]}" "${how[@]}" "$@" >&2
    mkdir -p "$out/$arm"
    cp "$run"/run.json "$run"/config.yaml "$run"/metrics.jsonl "$out/$arm/"
    for size in native 224; do
        how=("${device[@]}" --out "$out/$arm/$size")
        [[ $size == native ]] || how+=(--size "$size")
        [[ $arm == encoder || ! -d "$out/encoder/$size" ]] || how+=(--compare "$out/encoder/$size")
        echo "$arm, $size"
        $vasomim evaluate "$runs/data/val" --weights "$run" "${how[@]}"
    done
done
