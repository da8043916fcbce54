"""The version of geoembed, which outputs carry."""

__version__ = "0.1.0"
