#!/usr/bin/env bash
# The ablations: OUT=DIR benchmarks/gpu/ablations.sh PACKS [flags of `vasomim benchmark methods`]
# VasoMIM v2 with one thing changed at 10 % of the labels, three seeds. Rows of methods.sh in $OUT/rows are not run again.
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"
grid rows --methods ablations --labels 0.1 "$@"
