"""Former home of what lies in lightgbm.py, xgboost.py and catboost.py beside it."""

from .lightgbm import LightGBMConfig as LightGBMConfig
