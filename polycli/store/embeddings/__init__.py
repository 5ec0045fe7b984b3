"""Embeddings on disk: vectors in the rows of the data that they belong to, as Parquet or zarr.

    EMBEDDINGS/            _MANIFEST.json and part-00000.parquet, ..., one for each unit of work
    EMBEDDINGS.parquet     one file; the manifest is in its metadata, under `polycli`
    EMBEDDINGS.zarr        a group with one array per column; the manifest is in its attributes, under `polycli`
    EMBEDDINGS.hats        a HATS collection of catalogues that are cut by the sky, and _MANIFEST.json

Beside the rows there may be further tables, such as one of the numbers in the rows: in `EMBEDDINGS/_numbers/`, in
`EMBEDDINGS.numbers.parquet` or in the group `numbers`. Vectors are fixed-size lists in Parquet and (rows, width) in
zarr. Everything appears whole, under its name, at the end.

Any reader of Parquet or zarr reads them:

    >>> import numpy as np
    >>> from pyarrow import parquet
    >>> table = parquet.read_table("galaxies.parquet", columns=["object_id", "vector"])
    >>> vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    >>> vectors.shape
    (4, 16)
"""
