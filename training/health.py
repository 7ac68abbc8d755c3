"""Command: health. `python training/health.py --help`."""

from sam2_training.cli import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("health"))
