"""Several models on the same windows: who takes part, what is measured, and how it is shown."""
