#!/usr/bin/env bash
# The main table: OUT=DIR benchmarks/gpu/methods.sh PACKS [flags of `vasomim benchmark methods`]
# All methods at 10 % and 100 % of the labels, three seeds; `--methods mae vasomim scratch` for a part of them.
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"
grid rows --methods main "$@"
