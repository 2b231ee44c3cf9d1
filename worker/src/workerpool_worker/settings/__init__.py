"""The worker's settings: one typed place, read from the environment once, at start.

Every setting knows its variables, its meaning and whether it is a secret, so the table that
`workerpool-worker settings` prints and the message of a refused value come from the same lines.
"""

from workerpool_worker.settings.load import (
    SettingRow,
    SettingsError,
    load_settings,
    settings_table,
    without_password,
)
from workerpool_worker.settings.model import KNOWN_QUEUES, Settings

__all__ = [
    "KNOWN_QUEUES",
    "SettingRow",
    "Settings",
    "SettingsError",
    "load_settings",
    "settings_table",
    "without_password",
]
