"""DeepSpeed: its configuration, its optimizers and every private name of it that polycli uses."""
