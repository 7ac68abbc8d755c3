"""`python training/convert.py ...` is `sam2-training convert ...`, from any working directory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # not there under PYTHONSAFEPATH and in spawned processes
from sam2_training.cli import script

main = script(__file__)

if __name__ == "__main__":
    raise SystemExit(main())
