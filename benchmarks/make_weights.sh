#!/bin/sh
# The weights that come with the package, from public frames to src/vasomim/weights: sh benchmarks/make_weights.sh RUNS
# About ten hours of one CPU core; every command goes on where it was stopped. Measured numbers: docs/weights.md.
set -eu
runs=${1:?"give a folder for the runs"}
data=${VASOMIM_DATA:?"set VASOMIM_DATA to the folder of public angiograms, see docs/datasets.md"}
labelled=$data/arcade/syntax/train
frames="$labelled $data/arcade/stenosis_352/train $data/danilov_352"
mkdir -p "$runs"

# One of all copies of a frame, and of those the frames that are not labelled.
[ -f "$runs/keep.txt" ] || vasomim doctor $frames --keep-list "$runs/keep.txt" || [ $? -eq 1 ]
awk '/\/$/ { other = !/syntax/ } other' "$runs/keep.txt" > "$runs/unlabelled.txt"

vasomim segmentor "$runs/keep.txt" --out "$runs/segmentor" --config segmentor_laptop
vasomim pretrain "$runs/keep.txt" --vessels "$runs/segmentor/vessels" --segmentor "$runs/segmentor" \
    --out "$runs/encoder" --config pretrain_laptop
[ -d "$runs/synthetic" ] || vasomim synthesize --out "$runs/synthetic" --num-frames 400 --seed 17

# default FROM TO [flags]: one stage of the weights called `default`, going on from FROM.
default() {
    from=$1 to=$2
    shift 2
    vasomim finetune "$labelled" --init "$runs/$from" --out "$runs/$to" --tree.unlabelled "$runs/unlabelled.txt" \
        --tree.drawn "$runs/synthetic" "$@"
}
next="--config finetune_default_next --tree.share 0.3"
default encoder first --config finetune_default
default first second $next --steps 1150 --crop.scale 0.6 1.0 --crop.intensity 0.5 --seed 0
default second third $next --steps 1700 --crop.intensity 0.8 --seed 1
default third fourth $next
default fourth default $next --steps 500 --lr 5e-4 --crop.writing 0.3 --seed 3

vasomim finetune "$labelled" --out "$runs/fast_first" --config finetune_fast
vasomim finetune "$labelled" --init "$runs/fast_first" --out "$runs/fast_second" --config finetune_fast_next
vasomim finetune "$labelled" --init "$runs/fast_second" --out "$runs/fast" --config finetune_fast_next \
    --steps 500 --lr 1e-3 --crop.writing 0.3 --seed 2

for name in encoder default fast; do
    python benchmarks/release.py pack "$runs/$name" "$name"
    python benchmarks/release.py measure "$name"
    python benchmarks/release.py card "$name"
done
