"""What the commands evaluate.py, predict.py and export.py are made of."""
