#!/usr/bin/env bash
# A larger encoder for the package: OUT=DIR benchmarks/gpu/encoder.sh PACKS [flags of `vasomim pretrain`]
# VasoMIM v2 and plain MAE, ViT-S, 12,000 steps of 512. Brings back exports, metrics and reports, no optimiser state.
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"
unpack >&2
frames="$runs/data/frames"
vessels="$runs/encoder/vessels"
segmentor="$runs/encoder/segmentor"
length=(--steps "${SEGMENTOR_STEPS:-2000}" --device "${DEVICE:-cuda}")
$vasomim extract "$frames" --out "$vessels" >&2
$vasomim segmentor "$frames" --vessels "$vessels" --out "$segmentor" --config segmentor_laptop "${length[@]}" >&2
for method in vasomim mae; do
    how=(--segmentor "$segmentor")
    [[ $method == vasomim ]] || how=(--guidance none --consistency-weight 0)
    run="$runs/encoder/pretrain_$method"
    $vasomim pretrain "$frames" --vessels "$vessels" --out "$run" --config pretrain_one_gpu --device "${DEVICE:-cuda}" "${how[@]}" "$@" >&2
    mkdir -p "$out/pretrain_$method"
    cp -r "$run"/export "$run"/run.json "$run"/config.yaml "$run"/metrics.jsonl "$run"/report.html "$out/pretrain_$method/"
    echo "$method: $(tail -n 1 "$run/metrics.jsonl")"
done
