"""What the hub does not do says so by name: every operation of the vendors' models answers, and
one that is not there answers 501 and names itself."""

import json
import re

import botocore.session
import pytest

from hub import Hub

SERVICES = ["iot", "iot-data", "iot-jobs-data", "iotsecuretunneling"]

# What the checkpoint promises of each model.
PROMISED = {
    "iot": """
        CreateThing DescribeThing UpdateThing DeleteThing ListThings AttachThingPrincipal
        DetachThingPrincipal ListThingPrincipals ListPrincipalThings
        CreateThingGroup DescribeThingGroup UpdateThingGroup DeleteThingGroup ListThingGroups
        AddThingToThingGroup RemoveThingFromThingGroup ListThingsInThingGroup
        ListThingGroupsForThing TagResource UntagResource ListTagsForResource
        CreateKeysAndCertificate CreateCertificateFromCsr RegisterCertificateWithoutCA
        DescribeCertificate UpdateCertificate DeleteCertificate ListCertificates
        CreatePolicy GetPolicy DeletePolicy ListPolicies CreatePolicyVersion ListPolicyVersions
        GetPolicyVersion DeletePolicyVersion SetDefaultPolicyVersion AttachPolicy DetachPolicy
        ListAttachedPolicies ListTargetsForPolicy GetEffectivePolicies TestAuthorization
        DescribeEndpoint DescribeEventConfigurations UpdateEventConfigurations
    """.split(),
    "iot-data": """
        Publish GetThingShadow UpdateThingShadow DeleteThingShadow ListNamedShadowsForThing
        GetRetainedMessage ListRetainedMessages GetConnection ListSubscriptions DeleteConnection
    """.split(),
    "iot-jobs-data": [],
    "iotsecuretunneling": [],
}


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    """A hub that a request may empty without harm to other tests."""
    hub = Hub(tmp_path_factory.mktemp("spare")).start()
    yield hub
    hub.close()


def ask(hub, model, operation):
    """Sends the emptiest request for `operation`, signed; answers status, code and message."""
    http = model.operation_model(operation).http
    path = re.sub(r"\{\w+\+?\}", "x", http.get("requestUri", "/"))
    method = http.get("method", "POST")
    headers = {}
    if model.metadata["protocol"] == "json":
        headers["X-Amz-Target"] = f"{model.metadata['targetPrefix']}.{operation}"
    answer = hub.signed(
        method,
        path,
        b"{}" if method in ("POST", "PUT", "PATCH") else b"",
        service=model.signing_name,
        headers=headers,
    )
    try:
        body = json.loads(answer.data or b"{}")
    except ValueError:
        body = {}
    message = body.get("message") if isinstance(body, dict) else None
    return answer.status, answer.headers.get("x-amzn-ErrorType", ""), message or ""


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_of_the_model_answers_for_itself(spare, service):
    model = botocore.session.get_session().get_service_model(service)
    faults = []
    for operation in model.operation_names:
        status, code, message = ask(spare, model, operation)
        if operation in PROMISED[service]:
            if status == 501:
                faults.append(f"{operation}: promised, and answers 501")
        elif status == 501 and operation not in message:
            faults.append(f"{operation}: 501 without its name: {message!r}")
        if status == 500 or status in (403, 404) and not code:
            faults.append(f"{operation}: {status} {code} {message}")
    assert not faults, "\n".join(faults)


def test_an_operation_that_is_not_there_reaches_boto_as_a_clear_error(hub):
    iot = hub.boto("iot")
    with pytest.raises(iot.exceptions.ClientError) as missing:
        iot.list_ota_updates()
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "ListOTAUpdates" in missing.value.response["Error"]["Message"]
