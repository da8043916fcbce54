"""Maps from few labels: chips, embeddings and probes for Sentinel-1 and Sentinel-2."""

__version__ = "0.1.0"
