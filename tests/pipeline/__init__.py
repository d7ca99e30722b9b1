"""Tests of gateway/pipeline."""
