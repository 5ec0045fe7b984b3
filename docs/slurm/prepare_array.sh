#!/bin/bash
# Prepare in parts, then join them. Submit: bash docs/slurm/prepare_array.sh SOURCE-FILES STORES [PARTS]
# Run it again after failures: parts that are done end within seconds, and nothing is published before all are.
set -euo pipefail

input=${1:?a folder of source files, a quoted glob or @list.txt}
output=${2:?where the stores go, on a file system that all nodes see}
parts=${3:-16}

common=$(printf '%q ' polycli prepare mpp --source pdebench --input "$input" --output "$output")

array=$(sbatch --parsable --job-name=prepare --array="0-$((parts - 1))" --requeue \
    --cpus-per-task=4 --time=04:00:00 --output=prepare-%A-%a.log \
    --wrap "$common --workers 4 --part auto")

sbatch --job-name=finalize --dependency="afterok:$array" --kill-on-invalid-dep=yes \
    --cpus-per-task=4 --time=02:00:00 --output=finalize-%j.log \
    --wrap "$common --workers 4 --finalize"
