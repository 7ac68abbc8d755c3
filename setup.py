"""Adds to the package what lies outside training/: recipes and the table of weights. All else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = {"sam2_training.sam2_configs": "sam2_configs", "sam2_training.checkpoints": "checkpoints"}

setup(
    packages=[*find_packages("training", include=["sam2_training*"]), *FOLDERS],
    package_dir={"": "training", **FOLDERS},
    package_data={
        "sam2_training.report": ["*.html", "*.css"],
        "sam2_training.sam2_configs": ["*/*.yaml"],
        "sam2_training.checkpoints": ["published.txt", "download.sh"],
    },
)
