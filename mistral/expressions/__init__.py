"""YAQL and Jinja2: values in, values out, on a budget."""
