"""An inventory: what files and folders hold, where, made from what, and whether they are intact; a module per kind.

Reads what geoembed reads and writes, through the folders that know the formats; writes and decides nothing.
"""
