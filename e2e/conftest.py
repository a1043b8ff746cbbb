"""One hub for the whole run, and a workshop that makes devices on it."""

import contextlib
import os
import pathlib
import subprocess

import pytest

from devices import Workshop
from hub import BINARY, Hub

# No client here may look for the real cloud.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.devnull
os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
for variable in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_SESSION_TOKEN"):
    os.environ.pop(variable, None)


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not BINARY.is_file():
        pytest.exit(f"there is no hub at {BINARY}: cargo build --release", returncode=2)


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """The hub that most tests share; each works on names of its own."""
    hub = Hub(tmp_path_factory.mktemp("hub")).start()
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """`with shim(NAME, VARIABLE=…)`: programs started within load `shims/NAME.c` first."""
    folder = tmp_path_factory.mktemp("shims")

    @contextlib.contextmanager
    def loaded(name, **variables):
        library = folder / f"{name}.so"
        if not library.exists():
            source = pathlib.Path(__file__).parent / f"shims/{name}.c"
            compile_it = ["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]
            subprocess.run(compile_it, check=True)
        values = {key: str(value) for key, value in variables.items()}
        values["LD_PRELOAD"] = str(library)
        os.environ |= values
        try:
            yield
        finally:
            for variable in values:
                os.environ.pop(variable)

    return loaded


@pytest.fixture
def own_hub(tmp_path):
    """A hub that a test may stop, kill and start again."""
    hub = Hub(tmp_path / "hub")
    hub.start()
    yield hub
    hub.close()


@pytest.fixture
def workshop(hub, tmp_path):
    """Makes devices on the shared hub."""
    return Workshop(hub, tmp_path)


@pytest.fixture
def iot(hub):
    """boto3's control plane client."""
    return hub.boto("iot")


@pytest.fixture
def iot_data(hub):
    """boto3's data plane client."""
    return hub.boto("iot-data")


@pytest.fixture
def opened():
    """Clients to close when the test ends, however it ends: `opened(client)` answers it."""
    clients = []

    def keep(client):
        clients.append(client)
        return client

    yield keep
    for client in reversed(clients):
        try:
            client.close()
        except Exception:  # noqa: BLE001 - a client the hub has dropped may refuse to close twice
            pass


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows a failed test's reader what the hub said last."""
    report = yield
    if report.failed:
        for name in ("hub", "own_hub"):
            hub = item.funcargs.get(name) if hasattr(item, "funcargs") else None
            if hub is not None:
                report.sections.append((f"log of {name}", hub.log_tail()))
    return report
