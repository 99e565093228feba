"""Workers over real ssh, on what is to them another host: another network, another file system."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import pytest_crucible
from pytest_crucible.analysis.run import open_run
from tests.session import support
from tests.session.dying import FATAL, IN_FLIGHT, SUITE, TRIALS, clean_environment

PORT = 8022
HERE, THERE = "10.213.7.1", "10.213.7.2"


def run(*command: str | os.PathLike[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """Two network namespaces that see each other, and nothing else."""
    needed = [tool for tool in ("ip", "ssh", "ssh-keygen", "unshare") if not shutil.which(tool)]
    if needed or not Path("/usr/sbin/sshd").exists():
        pytest.skip(f"needs {', '.join([*needed, 'sshd'])}: apt install openssh-server iproute2")
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces have to be made")
    ours, theirs = names = f"crucible-a{os.getpid()}", f"crucible-b{os.getpid()}"
    with ExitStack() as stack:
        try:
            for name in names:
                run("ip", "netns", "add", name)
                stack.callback(run, "ip", "netns", "delete", name)
            veth = ["type", "veth", "peer", "name", "crucible", "netns", theirs]
            run("ip", "-n", ours, "link", "add", "crucible", *veth)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made: {error.stderr.decode().strip()}")
        for name, address in ((ours, HERE), (theirs, THERE)):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "crucible")
            run("ip", "-n", name, "link", "set", "crucible", "up")
        yield names


@pytest.fixture
def ssh_options(
    pytester: pytest.Pytester, networks: tuple[str, str], tmp_path: Path
) -> Iterator[str]:
    """Options for ssh into the other namespace, where the folder of runs cannot be seen."""
    hidden = pytester.mkdir(support.OUTPUT)
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key)
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it for its own safety
    options = {
        "ListenAddress": THERE, "Port": PORT, "HostKey": tmp_path / "host", "PidFile": "none",
        "AuthorizedKeysFile": tmp_path / "authorized", "StrictModes": "no", "UsePAM": "no",
        "PermitRootLogin": "yes", "PasswordAuthentication": "no", "UseDNS": "no",
    }  # fmt: skip
    words = " ".join(f"-o {name}={value}" for name, value in options.items())
    start = f"mount -t tmpfs none {hidden} && exec /usr/sbin/sshd -D -f /dev/null {words}"
    server = subprocess.Popen(
        ["ip", "netns", "exec", networks[1], "unshare", "-m", "sh", "-c", start],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    to = f"-F /dev/null -i {tmp_path / 'user'} -p {PORT} {known} {getpass.getuser()}@{THERE}"
    try:
        knock = ["ip", "netns", "exec", networks[0], "ssh", *to.split(), "true"]
        deadline = time.monotonic() + 20
        while (tried := subprocess.run(knock, capture_output=True, check=False)).returncode:
            assert time.monotonic() < deadline, tried.stderr
            assert server.poll() is None, server.communicate()
            time.sleep(0.1)
        yield to
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_workers_over_ssh_record_everything(
    pytester: pytest.Pytester, networks: tuple[str, str], ssh_options: str, tmp_path: Path
) -> None:
    """Events, trials and completeness as from local workers; the clocks' offset is written down."""
    source = SUITE.format(
        trials=TRIALS, fatal=FATAL, in_flight=IN_FLIGHT, decorator="", fault="pass"
    )
    there = tmp_path / "there"
    for folder in (pytester.path, there):
        folder.mkdir(exist_ok=True)
        (folder / "test_remote.py").write_text(source)
        (folder / "pytest.ini").write_text("[pytest]\ntestpaths = .\n")
    python = tmp_path / "python"  # ssh does not hand on PYTHONPATH
    root = Path(pytest_crucible.__file__).parent.parent
    python.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    gateway = f"--tx=2*ssh={ssh_options}//python={python}//chdir={there}"
    done = subprocess.run(
        [
            "ip", "netns", "exec", networks[0], sys.executable, "-m", "pytest",
            *support.ARGUMENTS, "-p", "no:rerunfailures",  # which looks for its controller here
            "--dist=load", gateway,
        ],
        cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"recorded {TRIALS}/{TRIALS} trials" in done.stdout
    assert "incomplete" not in done.stdout
    opened = open_run(pytester.path / support.OUTPUT)
    events = list(opened.events)
    assert sum(event.name == "work.done" for event in events) == TRIALS * IN_FLIGHT
    assert [node.name for node in opened.nodes] == ["gw0", "gw1"]
    for node in opened.nodes:
        assert node.closed
        assert node.header is not None
        # Measured, so bounded; and as it is one host after all, zero lies within the bound.
        assert node.header.clock_bound_ns > 0
        assert abs(node.header.clock_offset_ns) <= node.header.clock_bound_ns
