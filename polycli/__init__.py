"""polycli: scientific data in, pretrained foundation models, forecasts and embeddings out."""

__version__ = "0.1.0"
