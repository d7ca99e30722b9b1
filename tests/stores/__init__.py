"""Tests of gateway/stores."""
