//! Whole configurations, good and bad.
