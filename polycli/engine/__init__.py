"""The training engine: runs any Task under DeepSpeed, from one process on a CPU to many GPUs. Knows no family."""
