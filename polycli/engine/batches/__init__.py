"""Which samples a step has, how they are shared out, and how they are read ahead of it."""
