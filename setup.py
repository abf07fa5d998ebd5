"""What pyproject.toml can not say: `conf/` stands at the top of the checkout, and inside the package in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithConf(build_py):
    """Copies `conf/` to `twotower/conf/`, without `conf/local/`, which is each user's own."""

    def run(self) -> None:
        """Builds the package, then adds the config groups; an editable install reads them where they are."""
        if self.editable_mode:
            super().run()
            return
        package = Path(self.build_lib) / "twotower"
        shutil.rmtree(package, ignore_errors=True)  # an earlier build's files, some of which may be no more
        super().run()
        shutil.copytree(HERE / "conf", package / "conf", ignore=shutil.ignore_patterns("local", "__pycache__", ".*"))


setup(cmdclass={"build_py": BuildWithConf})
