#!/usr/bin/env bash
# What travels to a machine with a GPU, below 64 MiB a call, made once where the data sets lie.
#   benchmarks/gpu/pack.sh DATA PACKS        DATA holds arcade/ and danilov_352/, as for `vasomim benchmark methods`
#   SIZE=512 benchmarks/gpu/pack.sh DATA PACKS train val        labelled frames alone, larger
set -euo pipefail
data=${1:?folder of the data sets}
packs=${2:?new folder for the packs}
vasomim=${VASOMIM:-vasomim}
for part in "${@:3}" $([[ $# -gt 2 ]] || echo frames train val); do
    what=("$data/arcade/syntax/$part" --labels)
    [[ $part != frames ]] || what=("$data"/arcade/syntax/train "$data"/arcade/stenosis_352/train "$data"/danilov_352)
    $vasomim prepare "${what[@]}" --size "${SIZE:-256}" --codec webp --quality 85 --out "$packs/$part"
done
du -sm "$packs"
