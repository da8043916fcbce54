"""Learning without labels: the model, views of chips, the contrastive loss, training sessions, model folders.

The whole model is in `model.py`. No labels and no scores of labels.
"""
