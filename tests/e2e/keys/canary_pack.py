"""
A pack whose programs give away whatever they are told, in every way that the redactor promises to know.

They say the SHA-256 of each secret first: it proves that they had it.
"""

import io
import tarfile

_PROPERTIES = """
  token: {type: string, secret: true}
  certificate: {type: string, secret: true}
  account: {type: object, properties: {name: {type: string}, pin: {type: string, secret: true}}}
  codes: {type: array, items: {type: string, secret: true}}
  how: {type: string, default: print}
  pieces: {type: array, items: {type: string}}
"""

_PYTHON = r"""
import base64, hashlib, json, os, shlex, sys, time
from urllib.parse import quote, quote_plus

given = json.load(sys.stdin)

def leaves(value):
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    elif isinstance(value, str) and len(value) > 30:
        yield value

def writings(text):
    data = text.encode()
    yield from (text, repr(text), repr(data), shlex.quote(text))
    yield from (json.dumps(text), json.dumps(text, ensure_ascii=False), json.dumps(json.dumps(text)))
    yield from (quote(text), quote(text, safe=""), quote_plus(text), "".join(f"%{byte:02X}" for byte in data))
    for before in (b"", b"x", b"xx"):
        yield base64.b64encode(before + data).decode()
        yield base64.urlsafe_b64encode(before + data + b"tail").decode()
        yield base64.encodebytes(30 * b"-" + before + data).decode()
    yield from text.splitlines()

how, secrets = given.get("how"), [*leaves({**given, "pieces": None})]
secrets += [value for name, value in os.environ.items() if name == "ATTUNE_API_TOKEN"]
for stream in (sys.stdout, sys.stderr):
    for secret in secrets:
        print(hashlib.sha256(secret.encode()).hexdigest(), file=stream)
        for written in writings(secret):
            print(written, file=stream, flush=how == "wait")
    stream.flush()
if how == "letters":
    for secret in secrets:
        for byte in secret.encode() + b"\n":
            os.write(1, bytes([byte]))
if how == "wait":
    time.sleep(60)
if how == "die":
    os.kill(os.getpid(), 9)
if how == "raise":
    raise ValueError("cannot sign in", given["token"], {given["certificate"]: given})
deep = {"deep": [[{"given": given, given["token"]: [secrets], "url": quote(given["token"])}]]}
if how == "large":
    deep["filling"] = 100_000 * "-"
print(json.dumps(deep))
time.sleep(0.3)
"""

_INLINE = """
import hashlib, json, logging
def run(token, certificate="", how="print", **others):
    print(hashlib.sha256(token.encode()).hexdigest())
    logging.error("signing in with %s", token)
    print(json.dumps([token, certificate, others]))
    if how == "raise":
        raise RuntimeError(f"{token} was refused: {others!r}")
    return {"token": token, "list": [{certificate: others}]}
"""

_SHELL = r"""
set +e
printf %s "$token" | sha256sum
printf %s "$api_key" | sha256sum
env
exec 3>&2 2>&1
set -x
: "$token" "$certificate" "$api_key" "$system_key"
set +x
exec 2>&3
for secret in "$token" "$certificate" "$account" "$api_key" "$system_key"; do
  echo "$secret"; printf '%q\n' "$secret" >&2; echo "${secret@Q}"
  printf %s "$secret" | base64; printf x%s "$secret" | base64 -w 0 >&2; printf xx%s "$secret" | base64
done
set | grep -a -e ^token= -e ^PARAM_ -e ^certificate=
sleep 0.3
case "$how" in
  raise) echo "$token was refused" >&2; exit 7 ;;
  wait) trap 'echo "stopped with $token"; exit 1' TERM; sleep 60 & wait ;;
esac
cat
"""

_NODE = r"""
const crypto = require("crypto"), util = require("util");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const secret of [given.token, given.certificate, given.api_key].filter(Boolean)) {
  console.log(crypto.createHash("sha256").update(secret).digest("hex"));
  console.error([secret], {secret}, JSON.stringify({secret}), encodeURIComponent(secret), encodeURI(secret));
  console.log(new URLSearchParams({secret}).toString(), Buffer.from(secret).toString("base64url"));
  for (const before of ["", "x", "xx"]) console.log(Buffer.from(before + secret).toString("base64"));
}
console.log(util.inspect(given, {depth: 9}));
setTimeout(() => {
  if (given.how === "raise") throw new Error(`cannot sign in with ${given.token}`);
  if (given.how === "wait") setTimeout(() => {}, 60000);
}, 300);
"""

# The secret comes in pieces that are none, and goes out as an output.
_OUTPUT = r"""
import json, sys
given = json.load(sys.stdin)
password = "".join(given["pieces"])
print("made", password, flush=True)
print("made", password, file=sys.stderr, flush=True)
if given.get("how") == "fail":
    print(json.dumps({"password": password, "many": [password]}))
    sys.exit(f"made {password} and failed")
print(json.dumps({"password": password, "many": [password], "open": "nothing"}))
"""

# What works off items of queues: it says its secrets in its acknowledgement as well.
_HANDLER = r"""
import base64, hashlib, json, sys
given = json.load(sys.stdin)
token, item = given["token"], given["queue_item"]
for secret in (token, given["account"]["pin"]):
    print(hashlib.sha256(secret.encode()).hexdigest(), secret, flush=True)
    print(secret, base64.b64encode(secret.encode()).decode(), file=sys.stderr, flush=True)
if given["how"] == "raise":
    raise ValueError(token, given)
said = {"id": item["id"], "status": "completed" if item["attempt_count"] > 1 else "retry", "summary": f"sent {token}"}
said["error"] = f"{token} was refused"
print(json.dumps({"queue_ack": {"version": 1, "items": [said]}, "item": item, "token": token}))
"""

# Each secret goes the ways that there are in a workflow, and the odd ones fail with it in their hands.
_FLOW = """
tasks:
  - name: pass
    action: canary.python
    input:
      token: "{{ parameters.token }}"
      certificate: "Bearer {{ parameters.certificate }}"
      account: "{{ parameters.account }}"
      codes: "{{ parameters.codes + [parameters.token] }}"
    next:
      - when: "{{ succeeded() and parameters.token != 'x' and result().stdout != parameters.certificate }}"
        publish:
          - token: "{{ parameters.token }}"
          - mixed: {pin: "pin {{ parameters.account.pin }}", upper: "{{ parameters.token | string | upper }}"}
          - result
          - wrong: "{{ parameters[parameters.token] }}"
        do: [each, make, nested, ask, fail, odd_input, odd_items, exposed]
      - when: "{{ parameters[parameters.token] == 1 }}"
      - when: "{{ parameters.token > 5 or int(parameters.token) }}"
      - when: "{{ from_json(parameters.token) }}"
      - when: "{{ match('(' ~ parameters.token, 'x') }}"
      - when: "{{ base64_decode(parameters.account.pin) }} {{ parameters.token }}"
  - name: each
    action: canary.inline
    when: "{{ parameters.token != 'x' }}"
    with_items: "{{ parameters.codes + [workflow.token, parameters.token] }}"
    concurrency: 2
    input: {token: "{{ item }}", certificate: "{{ item }} {{ workflow.mixed.pin }}"}
    next: [{publish: [{items: "{{ result().items }}"}]}]
  - name: make
    action: canary.output
    input: {pieces: "{{ parameters.pieces }}"}
    next:
      - {publish: [{made: "{{ result().password }}"}, {all: "{{ result() }}"}], do: [use]}
  - name: use
    action: canary.shell
    input: {token: "{{ task.make.password }}", certificate: "{{ workflow.made }}", codes: "{{ workflow.all.many }}"}
  - name: nested
    action: canary.inner
    input:
      token: "{{ workflow.token }}"
      certificate: "{{ parameters.certificate }}"
      account: "{{ parameters.account }}"
      pieces: "{{ parameters.pieces }}"
    next: [{publish: [{nested: "{{ result().token }}"}, {made_inside: "{{ result().made }}"}], do: [use_nested]}]
  - name: use_nested
    action: canary.inline
    input: {token: "{{ task.nested.token }}", certificate: "{{ task.nested.listed.0 }}"}
  - name: ask
    action: core.ask
    input:
      prompt: "Password for {{ parameters.account.name }}?"
      response_schema: {password: {type: string, secret: true}, open: {type: boolean}}
    next:
      - when: "{{ result().response.password != 'x' and result().response.open }}"
        publish: [{answer: "{{ result().response }}"}]
        do: [use_answer]
  - name: use_answer
    action: canary.node
    input: {token: "{{ task.ask.response.password }}", certificate: "{{ workflow.answer.password }}"}
  - name: fail
    action: canary.python
    retry: {count: 1}
    input: {token: "{{ parameters.token }}", certificate: "{{ parameters.certificate }}", how: raise}
  - name: odd_input
    action: canary.python
    input: {token: "{{ parameters[parameters.token] }}"}
  - name: odd_items
    action: canary.python
    with_items: "{{ from_json(parameters.token)[parameters.token] }}"
    input: {token: "{{ item }}"}
  - name: exposed
    action: core.echo
    input: {message: "{{ parameters.token }} and {{ workflow.mixed.pin }}"}
    next: [{when: "{{ failed() }}", publish: [{error: "{{ result().error }}"}]}]
"""

_INNER = """
output:
  token: {type: string, secret: true}
  made: {type: string, secret: true}
tasks:
  - {name: a, action: canary.inline, next: [{publish: [{kept: "{{ parameters }}"}, {told: "{{ result() }}"}]}]}
output_map:
  token: "{{ parameters.token }}"
  text: "the token is {{ parameters.token }}"
  listed: ["{{ workflow.kept.certificate }}", {pin: "{{ parameters.account.pin }}"}]
  told: "{{ workflow.told }}"
  made: "{{ parameters.pieces | join }}"
  wrong: "{{ parameters[parameters.token] }}"
"""


def _action(name: str, runner: str, entry_point: str, more: str = "") -> str:
    return f"ref: canary.{name}\nlabel: {name}\nrunner_type: {runner}\nentry_point: {entry_point}\n{more}"


def _with_parameters(more: str = "") -> str:
    return f"parameters:{_PROPERTIES}{more}"


def _block(text: str) -> str:
    return "|\n" + "".join(f"  {line}\n" for line in text.strip().splitlines())


FILES = {
    "pack.yaml": (
        "ref: canary\nlabel: Canary\nversion: 1.0.0\n"
        "conf_schema:\n  api_key: {type: string, secret: true}\n  region: {type: string}\n"
    ),
    "actions/python.yaml": _action("python", "python", "echo.py", _with_parameters("output_format: json\n")),
    "actions/echo.py": _PYTHON,
    "actions/again.yaml": _action("again", "python", "echo.py", _with_parameters("max_retries: 1\n")),
    "actions/file.yaml": _action(
        "file", "shell", _block('printf %s "$token" | sha256sum; cat "$ATTUNE_PARAMETER_FILE"; cat "$ATTUNE_PARAMETER_FILE" >&2; false'),
        _with_parameters("parameter_delivery: file\nparameter_format: dotenv\n"),
    ),
    "actions/inline.yaml": _action("inline", "python", _block(_INLINE), _with_parameters()),
    "actions/shell.yaml": _action("shell", "shell", _block(_SHELL), _with_parameters()),
    "actions/node.yaml": _action("node", "nodejs", "echo.js", _with_parameters()),
    "actions/echo.js": _NODE,
    "actions/number.yaml": _action(
        "number", "shell", _block('echo "$pin"'),
        "parameters:\n  pin: {type: integer, secret: true}\n  text: {type: string}\n",
    ),
    "actions/output.yaml": _action(
        "output", "python", "output.py",
        "parameters:\n  pieces: {type: array, items: {type: string}}\n  how: {type: string}\n"
        "output:\n  password: {type: string, secret: true}\n  many: {type: array, items: {type: string, secret: true}}\n",
    ),
    "actions/output.py": _OUTPUT,
    "actions/handler.yaml": _action("handler", "python", "handler.py", _with_parameters("output_format: json\n")),
    "actions/handler.py": _HANDLER,
    "workflows/flow.yaml": f"ref: canary.flow\nlabel: Flow\nversion: 1.0.0\n{_with_parameters(_FLOW)}",
    "workflows/inner.yaml": f"ref: canary.inner\nlabel: Inner\nversion: 1.0.0\n{_with_parameters(_INNER)}",
    "triggers/hook.yaml": (
        "ref: canary.hook\nlabel: Hook\noutput:\n  token: {type: string, secret: true}\n"
        "  account: {type: object, properties: {pin: {type: string, secret: true}}}\n  level: {type: integer}\n"
    ),
}  # fmt: skip


def archive() -> bytes:
    """Return the pack as it is uploaded."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(f"canary/{name}")
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()
