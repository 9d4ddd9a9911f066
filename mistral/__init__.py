"""Workflow service: workflows written in YAML, run over REST, never lost."""

import warnings

# oslo.messaging loads eventlet's part of oslo.service, which nothing here uses;
# its notice would be the first thing that an operator reads.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
