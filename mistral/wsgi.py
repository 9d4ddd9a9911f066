"""The API for any WSGI server: ``mistral.wsgi:application``.

Configured by ``MISTRAL_CONFIG_FILE`` or the usual places.
"""

from mistral.cmd.api_workers import application as _build

application = _build()
