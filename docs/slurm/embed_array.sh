#!/bin/bash
# One array task for each store of a list. Submit: sbatch --array=0-15 docs/slurm/embed_array.sh CHECKPOINT LIST EMBEDDINGS
# LIST has one store a line; task i embeds lines i, i + n, ... of n tasks. Run it again after failures.
#SBATCH --job-name=embed
#SBATCH --array=0-15
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

checkpoint=${1:?a run, a checkpoint or a file of weights}
list=${2:?a file with one store a line}
output=${3:?the folder of the embeddings}

mapfile -t stores < "$list"
for ((number = SLURM_ARRAY_TASK_ID; number < ${#stores[@]}; number += SLURM_ARRAY_TASK_COUNT)); do
    store=${stores[number]}
    # It is there whole or not at all, so what is there is done.
    target="$output/$(basename "$store" .zarr).parquet"
    if [ -e "$target" ]; then
        echo "$target is there already"
        continue
    fi
    polycli embed astroclip --checkpoint "$checkpoint" --data "$store" --output "$target"
done
