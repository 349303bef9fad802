#!/usr/bin/env bash
# What travels to a machine with a GPU: three packs, together below 64 MiB, made once where the data sets lie.
#   benchmarks/gpu/pack.sh DATA PACKS        DATA holds arcade/ and danilov_352/, as for `vasomim benchmark methods`
set -euo pipefail
data=${1:?folder of the data sets}
packs=${2:?new folder for the packs}
vasomim=${VASOMIM:-vasomim}
size=${SIZE:-256}

small=(--size "$size" --codec webp --quality 85)
$vasomim prepare "$data"/arcade/syntax/train "$data"/arcade/stenosis_352/train "$data"/danilov_352 "${small[@]}" --out "$packs/frames"
$vasomim prepare "$data"/arcade/syntax/train --labels "${small[@]}" --out "$packs/train"
$vasomim prepare "$data"/arcade/syntax/val --labels "${small[@]}" --out "$packs/val"
du -sm "$packs"
