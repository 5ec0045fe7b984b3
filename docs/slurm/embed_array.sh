#!/bin/bash
# Embed in parts, one for each task of an array; the last one publishes. Submit, with as many tasks as you like:
#   sbatch --array=0-15 docs/slurm/embed_array.sh CHECKPOINT STORES EMBEDDINGS
# Submit it again after failures, also with another number of tasks: units that are finished are not made again.
# polycli embed ... --dry-run --sbatch --hours H prints this filled in, polycli status EMBEDDINGS says how far it is.
#SBATCH --job-name=embed
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

checkpoint=${1:?a run, a checkpoint or a file of weights}
stores=${2:?a store, a folder of stores, a quoted glob or @list.txt}
output=${3:?the embeddings, on a file system that all nodes see}

# The GPU computes, and vectors made with another number of threads differ in the last digits.
export OMP_NUM_THREADS=1

code=0
srun --kill-on-bad-exit=1 polycli embed astroclip --checkpoint "$checkpoint" --data "$stores" --output "$output" \
    --part auto ${SLURM_TMPDIR:+--scratch "$SLURM_TMPDIR"} || code=$?

# 75: a signal came, and the unit at hand is finished.
if [ "$code" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
