# What the jobs share; sourced by them. Reads packs, writes rows below $OUT and weights below $RUNS, prints the table last.
set -euo pipefail
packs=${1:?folder that pack.sh made}
shift
out=${OUT:?folder whose content comes back}
runs=${RUNS:-${TMPDIR:-/tmp}/vasomim_runs}
vasomim=${VASOMIM:-vasomim}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Training reads crops from raw packs; what travelled is compressed. Frames that are unpacked already stay.
unpack() {
    local pack part
    for pack in "$packs"/*; do
        part=$(basename "$pack")
        [[ -d "$runs/data/$part" ]] || $vasomim prepare "$pack" $([[ $part == frames ]] || echo --labels) --out "$runs/data/$part"
    done
}

# grid FOLDER [flags]: fills the rows of a grid and prints its table. Killed jobs go on with the same command.
grid() {
    local rows="$out/$1" status=0
    shift
    unpack >&2
    $vasomim benchmark methods --data "$runs/data" --runs "$runs/grid" --out "$rows" --config "$here/grid.yaml" "$@" >&2 || status=$?
    $vasomim benchmark methods --out "$rows" --config "$here/grid.yaml" "$@" --table
    return $status
}
