"""The version of twotower: its one home, which the package's metadata reads too."""

__version__ = "0.2.0"
