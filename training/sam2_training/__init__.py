"""Fine-tune SAM 2.1 on video masks: reproducible, resumable at any step."""

__version__ = "0.1.0"
