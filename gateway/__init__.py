"""Meterway's gateway: the standalone server between agents and model providers."""
