"""Learning without labels: the encoders, views of chips, the contrastive loss, training, and model folders.

The whole model is `model.py`. No labels and no scores of labels.
"""
