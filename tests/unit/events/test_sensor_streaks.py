from apps.events.sensors.streaks import Streak


def test_delays_double_up_to_five_minutes():
    streak = Streak(first_delay_seconds=5)

    assert [streak.failed(1) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_failure_after_five_minutes_of_running_begins_anew():
    streak = Streak(first_delay_seconds=5)
    for _ in range(4):
        streak.failed(1)
    before = streak.id

    assert (streak.failed(300), streak.failures, streak.id == before) == (5, 1, False)


def test_alert_is_wanted_once_per_streak_from_the_third_failure():
    streak = Streak(first_delay_seconds=5)
    wants = []
    for _ in range(5):
        streak.failed(0)
        wants.append(streak.wants_alert)
        streak.alerted = streak.alerted or streak.wants_alert

    assert wants == [False, False, True, False, False]

    streak.reset()
    for _ in range(3):
        streak.failed(0)
    assert streak.wants_alert
