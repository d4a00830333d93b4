"""How often a sensor has failed in a row, and when it is started again. Pure."""

from dataclasses import dataclass, field
from uuid import uuid4

LONGEST_DELAY_SECONDS = 300.0
HEALTHY_AFTER_SECONDS = 300.0  # of running: what failed before is forgotten
ALERT_FROM = 3  # consecutive failures


@dataclass
class Streak:
    """The failures since the sensor last was healthy; ``id`` names the streak in its one alert."""

    first_delay_seconds: float
    failures: int = 0
    alerted: bool = False
    id: str = field(default_factory=lambda: uuid4().hex)

    def failed(self, ran_seconds: float) -> float:
        """Count a failure after so long a run; return the seconds until the next start."""
        if ran_seconds >= HEALTHY_AFTER_SECONDS:
            self.reset()
        self.failures += 1
        return min(self.first_delay_seconds * 2.0 ** (self.failures - 1), LONGEST_DELAY_SECONDS)

    def reset(self) -> None:
        """It is healthy again."""
        self.failures, self.alerted, self.id = 0, False, uuid4().hex

    @property
    def wants_alert(self) -> bool:
        return self.failures >= ALERT_FROM and not self.alerted
