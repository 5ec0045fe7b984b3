"""The source `mmu`: image and spectrum sets of the Multimodal Universe, in HDF5 or Parquet."""
