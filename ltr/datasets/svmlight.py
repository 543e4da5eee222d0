"""Where the svmlight reader was until version 0.2; it lives in `ltr.datasets.readers.svmlight`."""

from .readers.svmlight import read_svmlight

__all__ = ["read_svmlight"]
