"""xVal (Golkar et al. 2023): a language model that reads and writes numbers as numbers."""
