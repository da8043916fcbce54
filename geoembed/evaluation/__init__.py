"""Evaluation of embeddings: what is asked, on which chips and labels, compared with what, and what was found.

Ends at `findings`, which hold numbers and pictures. No sentences and no page: `report` tells what was found.
"""
