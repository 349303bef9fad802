#!/usr/bin/env bash
# Speed: OUT=DIR benchmarks/gpu/speed.sh        no packs: frames are synthetic
# Extraction of a folder on the GPU against the CPU, and the pre-training step of ViT-B for three batch sizes.
set -euo pipefail
out=${OUT:?folder whose content comes back}
runs=${RUNS:-${TMPDIR:-/tmp}/vasomim_runs}/speed
vasomim=${VASOMIM:-vasomim}
device=${DEVICE:-cuda}
mkdir -p "$out" "$runs"
[[ -d "$runs/frames" ]] || $vasomim synthesize --out "$runs/frames" --num-frames "${FRAMES:-2000}" --size 512 >&2
for method in default reference; do
    for where in cpu "$device"; do
        began=$(date +%s.%N)
        $vasomim extract "$runs/frames/images" --out "$runs/vessels_${method}_$where" --method $method --device "$where" --batch-size 128 >&2
        echo "$method $where $(echo "$(date +%s.%N) - $began" | bc) s for ${FRAMES:-2000} frames" | tee -a "$out/extraction.txt"
    done
done
$vasomim prepare "$runs/frames/images" --vessels "$runs/vessels_default_cpu" --out "$runs/pack" >&2
$vasomim segmentor "$runs/pack" --out "$runs/segmentor" --config segmentor_laptop --steps "${SEGMENTOR_STEPS:-20}" --device "$device" >&2
for batch in ${BATCHES:-64 128 256}; do
    run="$runs/pretrain_$batch"
    $vasomim pretrain "$runs/pack" --segmentor "$runs/segmentor" --out "$run" --config pretrain_published_vit_b \
        --steps "${STEPS:-200}" --batch-size "$batch" --device "$device" "$@" >&2
    cp "$run/metrics.jsonl" "$out/pretrain_$batch.jsonl"
    echo "batch $batch: $(tail -n 1 "$run/metrics.jsonl")"
done
