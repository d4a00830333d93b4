#!/usr/bin/env python3
"""
The file sensor: tells when files are created, modified or deleted.

It is also the sensor to copy for one of your own. What every sensor has to do stands in four places here:

1. ``main``: take what the environment says. ATTUNE_SENSOR_TRIGGERS holds one entry for each enabled rule, with the
   settings of that rule in ``trigger_params``.
2. ``Watch``: look at the world, once for each rule, and send what happened with ``trigger_instance_id: rule_<id>``,
   so that only this rule sees the event. Each event has an Idempotency-Key: sent twice, it is stored once.
3. ``Api``: try again while the server is away, slow down when it says 429, and renew the token before it ends.
4. Rules change. A sensor is restarted then with new ATTUNE_SENSOR_TRIGGERS, unless its YAML says ``hot_reload: true``.
   This one does, because a restart would miss what happens meanwhile; ``Sensor.follow_rules`` asks for the changes.

Stopping is simple: SIGTERM, and five seconds later SIGKILL. A sensor that ends by itself is started again.
Standard library only, so it runs on any Python from 3.8 on.
"""

import fnmatch
import json
import logging
import os
import random
import re
import signal
import stat
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from base64 import urlsafe_b64decode
from datetime import datetime, timezone

KINDS = ("created", "modified", "deleted")
SHORTEST_INTERVAL_SECONDS = 0.1
BUSY_SHARE = 5  # a scan that takes a second is followed by four of rest at least, however short the interval is
POLL_SECONDS = 50  # how long the server may keep our question about changed rules
REQUEST_SECONDS = 20
LONGEST_PAUSE_SECONDS = 30

log = logging.getLogger("file_sensor")


# --- The API ------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The server does not take this request, and never will."""


class Api:
    """Requests to the server with our token; any thread may make them."""

    def __init__(self, base_url, token):
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._renew_at = renewal_time(token)

    def send_event(self, rule, payload, stopped):
        """Store one event for one rule, however long that takes, unless it is ``stopped``. Raises Refused."""
        event = {
            "trigger_ref": rule["trigger_ref"],
            "trigger_instance_id": f"rule_{rule['id']}",
            "payload": payload,
        }
        self.request("POST", "/api/v1/events", event, {"Idempotency-Key": uuid.uuid4().hex}, stopped=stopped)

    def renew_token(self, sensor_ref):
        """Get a successor of our token when half of its time is over."""
        if time.time() >= self._renew_at:
            wanted = {"sensor_ref": sensor_ref, "trigger_types": claims_of(self._token)["metadata"]["trigger_types"]}
            self._token = self.request("POST", "/auth/sensor-token", wanted)["data"]["token"]
            self._renew_at = renewal_time(self._token)
            log.info("The token was renewed")

    def request(self, method, path, body=None, headers=None, timeout=REQUEST_SECONDS, stopped=None):
        """Return the JSON of the answer; while the server cannot give one, ask again. Raises Refused."""
        pause = 0.5
        while stopped is None or not stopped.is_set():
            try:
                return self._once(method, path, body, headers or {}, timeout)
            except urllib.error.HTTPError as error:
                detail = error.read(1000).decode(errors="replace")
                if error.code == 401:
                    give_up(f"The token is not accepted any more: {detail}")
                if error.code < 500 and error.code not in (408, 409, 425, 429):
                    raise Refused(f"{method} {path}: {error.code} {detail}") from None
                asked = error.headers.get("Retry-After", "")
                wait = float(asked) if asked.isdigit() else pause
                log.warning("%s %s: %d; again in %.1f s", method, path, error.code, wait)
            except (OSError, ValueError) as error:  # no connection, a broken one, or an answer that is not ours
                wait = pause
                log.warning("%s %s: %s; again in %.1f s", method, path, error, wait)
            time.sleep(wait * random.uniform(1.0, 1.2))  # not all at once when the server comes back
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise Refused(f"{method} {path}: nobody waits for it any more")

    def _once(self, method, path, body, headers, timeout):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base_url + path, data=data, method=method)
        request.add_header("Authorization", "Bearer " + self._token)
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)


def claims_of(token):
    """Return what a token says; only its server has to check the signature."""
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def renewal_time(token):
    """Return when half of the token's time is over, in seconds since 1970."""
    claims = claims_of(token)
    return (claims["iat"] + claims["exp"]) / 2


def give_up(reason):
    """End the process, from any thread: the supervisor starts it again with a fresh token."""
    log.error(reason)
    sys.stderr.flush()
    os._exit(1)


# --- Looking at files ---------------------------------------------------------------------------------------------


class BadSettings(Exception):
    """The settings of a rule cannot be used."""


class Settings:
    """What one rule wants to know about."""

    def __init__(self, params):
        self.path = params.get("path")
        if not isinstance(self.path, str) or not self.path or "\0" in self.path:
            raise BadSettings("`path` must name a file or a directory")
        self.path = os.path.abspath(self.path)
        self.matches = re.compile(fnmatch.translate(str(params.get("pattern") or "*"))).match
        self.recursive = bool(params.get("recursive"))
        self.kinds = params.get("events") or KINDS
        try:
            self.interval_seconds = max(float(params.get("interval_seconds") or 2), SHORTEST_INTERVAL_SECONDS)
        except (TypeError, ValueError):
            raise BadSettings("`interval_seconds` must be a number") from None


def scan(settings, before):
    """
    Return {path: (time of change, size, file number)} of the files that a rule is about.

    What vanishes while we look is not there. A directory that cannot be read just now says nothing about its files:
    those of ``before``, the scan before this one, stay.
    """
    found = {}
    try:
        status = os.stat(settings.path)
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        log.warning("%s cannot be read: %s", shown(settings.path), error.strerror)
        return dict(before)
    if not stat.S_ISDIR(status.st_mode):
        if stat.S_ISREG(status.st_mode):
            found[settings.path] = mark_of(status)
        return found
    waiting = [settings.path]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    look_at(entry, settings, found, waiting)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            log.warning("%s cannot be read: %s", shown(directory), error.strerror)
            inside = os.path.join(directory, "")
            found.update((path, mark) for path, mark in before.items() if path.startswith(inside))
    return found


def look_at(entry, settings, found, waiting):
    """Note a file that counts, or a directory that is to be looked into; links to directories lead in circles."""
    try:
        if entry.is_dir(follow_symlinks=False):
            if settings.recursive:
                waiting.append(entry.path)
        elif settings.matches(entry.name):
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                found[entry.path] = mark_of(status)
    except OSError:
        return  # it is gone again, or a link to nowhere


def mark_of(status):
    """Return what differs when a file was written, or replaced by another one of the same name."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def differences(before, after):
    """Yield (kind, path, mark) of what has changed from one scan to the next."""
    for path, mark in after.items():
        if path not in before:
            yield "created", path, mark
        elif before[path] != mark:
            yield "modified", path, mark
    for path in before:
        if path not in after:
            yield "deleted", path, None


def payload_of(kind, path, mark):
    """Return the payload of an event of core.filechange."""
    nanoseconds, size, _number = mark or (None, None, None)
    return {"type": kind, "path": shown(path), "size_bytes": size, "modified_at": moment(nanoseconds)}


def moment(nanoseconds):
    """Return a time of change as text, None for none, and for one no calendar has."""
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        found = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)  # noqa: UP017  # 3.8
    except (ValueError, OverflowError, OSError):
        return None
    return found.isoformat().replace("+00:00", "Z")


def shown(path):
    """Return a path as text: names of files may hold bytes that are none."""
    return os.fsencode(path).decode("utf-8", "replace")


class Watch(threading.Thread):
    """Looks for one rule until it is stopped. What is there at the start is no news."""

    def __init__(self, rule, api):
        super().__init__(name=rule["ref"], daemon=True)
        self.rule = rule
        self._settings = Settings(rule["trigger_params"])
        self._api = api
        self._stopped = threading.Event()
        self._known = {}

    def stop(self):
        self._stopped.set()

    def run(self):
        rest = 0
        first = True
        while not self._stopped.wait(rest):
            began = time.monotonic()
            now = scan(self._settings, self._known)
            scan_seconds = time.monotonic() - began
            if first:
                self._known, first = now, False
                log.info("Watching %s for rule %s: %d files", shown(self._settings.path), self.rule["ref"], len(now))
            self._tell(now)
            rest = max(self._settings.interval_seconds - scan_seconds, (BUSY_SHARE - 1) * scan_seconds)

    def _tell(self, now):
        """Send an event for each difference; what could not be sent yet is still unknown and comes again."""
        for kind, path, mark in list(differences(self._known, now)):
            if self._stopped.is_set():
                return
            if kind in self._settings.kinds:
                try:
                    self._api.send_event(self.rule, payload_of(kind, path, mark), self._stopped)
                except Refused as refusal:
                    log.error("An event of rule %s was not taken: %s", self.rule["ref"], refusal)
            if mark is None:
                del self._known[path]
            else:
                self._known[path] = mark


# --- The sensor ---------------------------------------------------------------------------------------------------


class Sensor:
    """One watch for each rule, and the rules as they are now."""

    def __init__(self, ref, api):
        self._ref = ref
        self._api = api
        self._watches = {}

    def serve(self, rules):
        """Watch for these rules and no others; those that did not change are not disturbed."""
        wanted = {rule["id"]: rule for rule in rules}
        for rule_id, watch in list(self._watches.items()):
            if wanted.get(rule_id) != watch.rule:
                watch.stop()
                del self._watches[rule_id]
        for rule_id, rule in wanted.items():
            if rule_id not in self._watches:
                self._begin(rule)

    def _begin(self, rule):
        try:
            watch = Watch(rule, self._api)
        except BadSettings as error:
            log.error("Rule %s is not served: %s", rule["ref"], error)
            return
        watch.start()
        self._watches[rule["id"]] = watch

    def follow_rules(self):
        """Take over the rules whenever they change; the server answers when there is something new, or after a while."""
        path = f"/api/v1/sensors/{urllib.parse.quote(self._ref, safe='')}/rules"
        version = None
        while True:
            began = time.monotonic()
            question = path if version is None else f"{path}?version={version}&wait={POLL_SECONDS}"
            try:
                answer = self._api.request("GET", question, timeout=POLL_SECONDS + REQUEST_SECONDS)["data"]
                self.serve(answer["rules"])
                is_new, version = answer["version"] != version, answer["version"]
                self._api.renew_token(self._ref)
            except Refused as refusal:
                log.warning("%s", refusal)
                is_new = False
            if not is_new and time.monotonic() - began < 1:
                time.sleep(2)  # a server that does not let us wait


def main():
    logging.basicConfig(
        level=os.environ.get("ATTUNE_LOG_LEVEL", "info").upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.excepthook = lambda fault: give_up(f"A watch has failed: {fault.exc_value!r}")
    api = Api(os.environ["ATTUNE_API_URL"], os.environ["ATTUNE_API_TOKEN"])
    sensor = Sensor(os.environ["ATTUNE_SENSOR_REF"], api)
    sensor.serve(json.loads(os.environ["ATTUNE_SENSOR_TRIGGERS"]))
    sensor.follow_rules()


if __name__ == "__main__":
    main()
