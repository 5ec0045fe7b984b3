#!/bin/bash
# One node, one rank for each GPU. Submit: sbatch docs/slurm/single_node.sh RECIPE STORES RUN
# It saves and puts itself back into the queue five minutes before its time is up, until the run is complete.
#SBATCH --job-name=polycli
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

recipe=${1:?the recipe, a file or a name}
stores=${2:?a store or a folder of stores}
run=${3:?the folder of the run}

# The GPU computes: one thread for CPU arithmetic is enough, and data.workers read in threads of their own.
export OMP_NUM_THREADS=1

code=0
srun --kill-on-bad-exit=1 polycli pretrain mpp --recipe "$recipe" --data "$stores" --output "$run" || code=$?

# srun gives the highest exit code of all ranks, which a rank that was killed hides: status.json tells the truth.
state=$(sed -n 's/.*"state": "\([a-z]*\)".*/\1/p' "$run/status.json" || true)
echo "srun ended with $code, the run is ${state:-not there}"
if [ "$state" = preempted ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
