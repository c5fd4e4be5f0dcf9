"""The schema of config/pipelines.yaml and how YAML is read with its line numbers; loads nothing
else.
"""
