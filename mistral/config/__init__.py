"""Every option of the service: ``load(argv)`` gives frozen ``Settings``.

``cmd/`` loads; everybody else receives values. No configuration file means the
embedded size (DESIGN § 1).
"""

from mistral.config.load import ConfigurationFault, load
from mistral.config.options import list_opts, sample
from mistral.config.settings import (
    DENIED_CIDRS,
    ROLES,
    ActionProviderSettings,
    ApiSettings,
    DatabaseSettings,
    EngineSettings,
    ExecutorSettings,
    ExpirationSettings,
    ExpressionsGroup,
    HeartbeatSettings,
    HttpSettings,
    JavaScriptSettings,
    LegacyActionSettings,
    MessagingSettings,
    Server,
    Settings,
    YaqlGroup,
)

__all__ = [
    "DENIED_CIDRS",
    "ROLES",
    "ActionProviderSettings",
    "ApiSettings",
    "ConfigurationFault",
    "DatabaseSettings",
    "EngineSettings",
    "ExecutorSettings",
    "ExpirationSettings",
    "ExpressionsGroup",
    "HeartbeatSettings",
    "HttpSettings",
    "JavaScriptSettings",
    "LegacyActionSettings",
    "MessagingSettings",
    "Server",
    "Settings",
    "YaqlGroup",
    "list_opts",
    "load",
    "sample",
]
