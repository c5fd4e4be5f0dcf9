"""Requests to a model in another process of this machine; knows neither Ray nor HTTP."""
