"""Requests to a model in another process; knows neither Ray nor HTTP."""
