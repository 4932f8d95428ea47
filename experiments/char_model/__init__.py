"""A character model: training, evaluation and sampling."""
