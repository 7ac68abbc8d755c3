"""Programs for two workers that end in every way, and for the process that starts them."""

WORKER = """
import os, psutil, sys, time, signal
from pathlib import Path
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.processes import die_with_parent, write_status
die_with_parent()
rank, status, what = int(os.environ["RANK"]), Path(sys.argv[1]), sys.argv[2]
assert os.environ["WORLD_SIZE"] == "2"
def leave(code, message=""):
    write_status(status, code, message, keep_first=True)
    if message: print(message, file=sys.stderr)
    sys.exit(code)
def wait_for(name):
    while not status.with_name(name).exists(): time.sleep(0.02)
if what.startswith("exit "):
    if rank == 0: leave(int(what.split()[1]), "error: the one clear message")
    wait_for("run_status.json")
    sys.exit(int(what.split()[1]))
if what == "no room":
    if rank == 0:
        status.parent.rename(status.parent.with_name("moved"))
        status.parent.write_text("nothing can be written below a file")
        leave(4, "error: not saved")
    while status.parent.is_dir(): time.sleep(0.02)
    leave(4, "error: not saved")
if what == "silent": sys.exit(6 if rank == 1 else 0)
if what == "crash" and rank == 1: raise ValueError("a bug")
if what == "killed, and noticed" and rank == 0:
    wait_for("dying")
    while psutil.Process(int(status.with_name("dying").read_text())).status() != "zombie": time.sleep(0.02)
    write_status(status, 1, "another rank ended", keep_first=True, is_consequence=True)
    sys.exit(1)
if what == "killed, and noticed":
    status.with_name("pid").write_text(str(os.getpid()))
    status.with_name("pid").rename(status.with_name("dying"))
if what == "stopped":
    from sam2_training.core.errors import HangError
    from sam2_training.engine.run import run_as_rank
    def stop_here():
        status.with_name("pid").write_text(str(os.getpid()))
        status.with_name("pid").rename(status.with_name("stopping"))
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)
    def miss_the_other():
        wait_for("stopping")
        while psutil.Process(int(status.with_name("stopping").read_text())).status() != "stopped": time.sleep(0.02)
        raise RuntimeError("Timed out waiting 24000ms for recv operation to complete")
    try:
        run_as_rank(status.parent, stop_here if rank == 1 else miss_the_other)
    except HangError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
if what.startswith("killed") and rank == 1: os.kill(os.getpid(), signal.SIGKILL)
if what == "imports":
    import sam2_training, torch
    os.write(1, f"{sam2_training.__file__} {os.environ['OMP_NUM_THREADS']}\\n".encode())
    sys.exit(0)
if what == "one fails, the other hangs" and rank == 1:
    leave(6, "error: bad data on rank 1")
with StopRequest() as stop:
    status.with_name(f"ready{rank}").touch()
    if what == "one fails, the other hangs":
        while True: time.sleep(0.1)
    while not stop.requested: time.sleep(0.02)
    time.sleep(float(os.environ.get("SAVE_SECONDS", "0.5")))
    status.with_name(f"saved{rank}").touch()
    wait_for(f"saved{1 - rank}")
    leave(75)
"""

PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from sam2_training.engine.processes import run_workers
sys.exit(run_workers(Path({script!r}), sys.argv[1:], 2, Path(sys.argv[1])))
"""
