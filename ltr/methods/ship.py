"""Former name of `export`, for this version."""

from ltr.errors import renamed

from .export import FixedRanker as FixedRanker
from .export import fixed as fixed
from .export import ship as ship

renamed("module", "ltr.methods.ship", "ltr.methods.export")
