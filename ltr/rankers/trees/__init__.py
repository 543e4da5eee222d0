"""Boosted trees: LightGBM, XGBoost and CatBoost."""
