"""Internal: torchrun as `run_workers` starts it."""

from sam2_training.cli import leave_search_path
from sam2_training.engine.torchrun_agent import main

if __name__ == "__main__":
    leave_search_path()
    raise SystemExit(main())
