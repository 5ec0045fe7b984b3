#!/bin/bash
# Several nodes, one rank for each GPU. Submit: sbatch --nodes=8 docs/slurm/multi_node.sh RECIPE STORES RUN
# The run may go on with another number of nodes; the global batch and the order of samples stay as they were.
#SBATCH --job-name=polycli
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --exclusive
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

recipe=${1:?the recipe, a file or a name}
stores=${2:?a store or a folder of stores}
run=${3:?the folder of the run, on a file system that all nodes see}

export OMP_NUM_THREADS=1
# Address and port come from Slurm's list of nodes and the job's number; set these only where that does not do.
# export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT=29500
# The interface between the nodes, where NCCL does not find it: see `ip -brief address` on a node.
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
# What NCCL found and chose; once, when a cluster is new.
# export NCCL_DEBUG=INFO
# A collective that hangs ends the job, instead of using up its time.
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1

code=0
srun --kill-on-bad-exit=1 polycli pretrain mpp --recipe "$recipe" --data "$stores" --output "$run" || code=$?

state=$(sed -n 's/.*"state": "\([a-z]*\)".*/\1/p' "$run/status.json" || true)
echo "srun ended with $code, the run is ${state:-not there}"
if [ "$state" = preempted ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
