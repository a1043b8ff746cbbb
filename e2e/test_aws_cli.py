"""The `aws` command with nothing changed but its environment."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from devices import ALLOW_ALL, unique

AWS = pathlib.Path(sys.executable).with_name("aws")


@pytest.fixture
def aws(hub, tmp_path):
    """Runs `aws WORDS…` against the hub; answers the parsed output."""

    def run(*words, succeeds=True):
        environment = {
            key: str(value)
            for key, value in hub.environment.items()
            if key.startswith("AWS_")
        }
        ended = subprocess.run(
            [AWS, *map(str, words)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "AWS_PAGER": "",
                "AWS_MAX_ATTEMPTS": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        if not succeeds:
            assert ended.returncode != 0
            return ended.stderr
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    return run


def test_a_fleet_is_set_up_from_the_shell(aws, tmp_path):
    thing, policy = unique("thing"), unique("policy")
    document = tmp_path / "policy.json"
    document.write_text(json.dumps(ALLOW_ALL))
    assert aws("iot", "create-thing", "--thing-name", thing)["thingName"] == thing
    made = aws(
        "iot", "create-keys-and-certificate", "--set-as-active",
        "--certificate-pem-outfile", tmp_path / "device.pem",
        "--private-key-outfile", tmp_path / "device.key",
    )
    assert "BEGIN CERTIFICATE" in (tmp_path / "device.pem").read_text()
    aws("iot", "create-policy", "--policy-name", policy, "--policy-document", f"file://{document}")
    target = made["certificateArn"]
    aws("iot", "attach-policy", "--policy-name", policy, "--target", target)
    aws("iot", "attach-thing-principal", "--thing-name", thing, "--principal", target)
    principals = aws("iot", "list-thing-principals", "--thing-name", thing)["principals"]
    assert principals == [target]
    things = aws("iot", "list-things")["things"]
    assert thing in [entry["thingName"] for entry in things]


def test_a_shadow_is_written_and_read_from_the_shell(aws, tmp_path):
    thing = unique("thing")
    aws("iot", "create-thing", "--thing-name", thing)
    out = tmp_path / "shadow.json"
    aws(
        "iot-data", "update-thing-shadow", "--thing-name", thing,
        "--payload", '{"state":{"desired":{"fan":1}}}', out,
    )
    aws("iot-data", "get-thing-shadow", "--thing-name", thing, out)
    assert json.loads(out.read_text())["state"]["desired"] == {"fan": 1}


def test_a_message_is_published_from_the_shell(aws):
    aws("iot-data", "publish", "--topic", unique("t"), "--qos", 1, "--payload", "hi")


def test_the_endpoint_and_the_identity_are_told(aws):
    assert aws("iot", "describe-endpoint", "--endpoint-type", "iot:Data-ATS")["endpointAddress"]
    assert aws("sts", "get-caller-identity")["Account"]


def test_an_error_reads_as_it_does_on_aws(aws):
    text = aws("iot", "describe-thing", "--thing-name", "nobody", succeeds=False)
    assert "ResourceNotFoundException" in text
    assert "nobody" in text
