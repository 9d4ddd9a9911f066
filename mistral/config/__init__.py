"""Every option of the service: ``load(argv)`` gives frozen ``Settings``.

``cmd/`` loads; everybody else receives values. No configuration file means the
embedded size (DESIGN § 1).
"""

from mistral.config.author_settings import (
    DENIED_CIDRS,
    ActionProviderSettings,
    DynamicActionSettings,
    ExpressionsGroup,
    HttpSettings,
    JavaScriptSettings,
    LegacyActionSettings,
    YaqlGroup,
)
from mistral.config.faults import ConfigurationFault, wrong_line
from mistral.config.identity_settings import KeycloakSettings, OidcSettings
from mistral.config.load import empty_source, load, separate
from mistral.config.options import list_opts, sample
from mistral.config.settings import (
    ROLES,
    ApiSettings,
    CorsSettings,
    DatabaseSettings,
    EngineSettings,
    EventEngineSettings,
    ExecutorSettings,
    ExpirationSettings,
    HeartbeatSettings,
    MessagingSettings,
    NotifierSettings,
    Server,
    Settings,
)

__all__ = [
    "DENIED_CIDRS",
    "ROLES",
    "ActionProviderSettings",
    "ApiSettings",
    "ConfigurationFault",
    "CorsSettings",
    "DatabaseSettings",
    "DynamicActionSettings",
    "EngineSettings",
    "ExecutorSettings",
    "ExpirationSettings",
    "ExpressionsGroup",
    "HeartbeatSettings",
    "HttpSettings",
    "JavaScriptSettings",
    "KeycloakSettings",
    "LegacyActionSettings",
    "MessagingSettings",
    "EventEngineSettings",
    "NotifierSettings",
    "OidcSettings",
    "Server",
    "Settings",
    "YaqlGroup",
    "empty_source",
    "list_opts",
    "load",
    "sample",
    "separate",
    "wrong_line",
]
