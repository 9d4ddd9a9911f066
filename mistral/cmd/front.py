"""What stands in front of the API: CORS and the headers of a proxy (rest-api.md
§ 6.3, § 6.4), both by oslo.middleware and both off unless they are set.

The library is loaded only where it has something to do.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from oslo_config import cfg

from mistral.config import Settings


def in_front_of(app: Any, settings: Settings) -> Any:
    """The application behind what is set; itself when nothing is."""
    if settings.api.enable_proxy_headers_parsing:
        app = _with_proxy(app)
    if settings.cors.allowed_origin:
        app = _with_cors(app, settings)
    return app


def _with_proxy(app: Any) -> Any:
    from oslo_middleware.http_proxy_to_wsgi import HTTPProxyToWSGI

    conf = _options()
    wrapped = HTTPProxyToWSGI(app, conf)
    conf.set_override("enable_proxy_headers_parsing", True, "oslo_middleware")
    return wrapped


def _with_cors(app: Any, settings: Settings) -> Any:
    from oslo_middleware.cors import CORS, OPTS

    conf = _options()
    conf.register_opts(OPTS, "cors")
    for item in fields(settings.cors):
        value = getattr(settings.cors, item.name)
        value = list(value) if isinstance(value, tuple) else value
        conf.set_override(item.name, value, "cors")
    return CORS(app, conf)


def _options() -> cfg.ConfigOpts:
    """Options of a library alone: ours are checked already."""
    conf = cfg.ConfigOpts()
    conf([], use_env=False, default_config_files=[], default_config_dirs=[])
    return conf
