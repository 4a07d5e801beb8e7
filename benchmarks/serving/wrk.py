"""An independent client, `wrk` (a package of Debian; https://github.com/wg/wrk), all connections opened at once.

It counts statuses and measures time; only `benchmarks.serving.load` compares the numbers in answers.
"""

import json
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.serving.load import HOST, Job, Measured

SCRIPT = """
local requests, number = {%s}, 0
function request()
  number = number %% #requests + 1
  return requests[number]
end
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format('{"answered": %%d, "errors": %%d, "microseconds": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


def is_installed() -> bool:
    """True if the command is installed."""
    return shutil.which("wrk") is not None


def measure(job: Job) -> Measured:
    """Run the job in one thread of `wrk`, for whole seconds and without a warm-up. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        script = Path(folder, "requests.lua")
        script.write_text(SCRIPT % ",\n".join(map(_literal, job.requests)), "ascii")
        duration = f"{max(1, round(job.seconds))}s"
        command = ["wrk", "-t1", f"-c{job.connections}", f"-d{duration}", "-s", str(script)]
        output = subprocess.run(
            [*command, f"http://{HOST}:{job.port}/"], capture_output=True, text=True, check=True
        ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _read(output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _literal(content: bytes) -> str:
    """The bytes as a Lua string."""
    return '"' + "".join(f"\\{byte:03d}" for byte in content) + '"'


def _read(output: str, client_seconds: float) -> Measured:
    """The last line of the output."""
    values = json.loads(output.splitlines()[-1])
    errors, answered = values["errors"], values["answered"]
    return Measured(
        per_second=answered / values["microseconds"] * 1e6,
        p50_ms=values["p50"] / 1e3,
        p99_ms=values["p99"] / 1e3,
        answered=answered,
        checked=0,
        errors=errors,
        client_seconds=client_seconds,
        first_error="wrk: failed requests" if errors else "",
    )
