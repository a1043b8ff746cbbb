"""The registry through boto3: things, types, groups, tags, certificates, policies."""

import json
import subprocess

import pytest

from devices import ALLOW_ALL, unique


@pytest.fixture
def thing(iot):
    """A thing's name."""
    name = unique("thing")
    iot.create_thing(thingName=name, attributePayload={"attributes": {"site": "kyoto"}})
    return name


@pytest.fixture
def certificate(iot):
    """An active certificate with its keys."""
    return iot.create_keys_and_certificate(setAsActive=True)


def all_pages(call, key, **arguments):
    """Every entry of a listing, page by page."""
    entries, token = [], None
    while True:
        page = call(**arguments, **({"nextToken": token} if token else {}))
        entries += page[key]
        token = page.get("nextToken")
        if not token:
            return entries


def test_a_thing_is_created_described_updated_and_deleted(iot):
    name = unique("thing")
    made = iot.create_thing(thingName=name, attributePayload={"attributes": {"site": "kyoto"}})
    assert made["thingName"] == name
    assert made["thingArn"].endswith(f":thing/{name}")
    assert made["thingId"]
    seen = iot.describe_thing(thingName=name)
    assert seen["thingId"] == made["thingId"]
    assert (seen["attributes"], seen["version"]) == ({"site": "kyoto"}, 1)
    assert seen["defaultClientId"] == name
    iot.update_thing(
        thingName=name,
        attributePayload={"attributes": {"rack": "7"}, "merge": True},
        expectedVersion=1,
    )
    seen = iot.describe_thing(thingName=name)
    assert (seen["attributes"], seen["version"]) == ({"site": "kyoto", "rack": "7"}, 2)
    with pytest.raises(iot.exceptions.VersionConflictException):
        iot.update_thing(thingName=name, attributePayload={"attributes": {}}, expectedVersion=1)
    iot.update_thing(thingName=name, attributePayload={"attributes": {"rack": "8"}})
    assert iot.describe_thing(thingName=name)["attributes"] == {"rack": "8"}
    iot.delete_thing(thingName=name)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing(thingName=name)


def test_creating_a_thing_twice_is_the_same_thing_or_a_conflict(iot, thing):
    again = iot.create_thing(thingName=thing, attributePayload={"attributes": {"site": "kyoto"}})
    assert again["thingName"] == thing
    with pytest.raises(iot.exceptions.ResourceAlreadyExistsException) as conflict:
        iot.create_thing(thingName=thing, attributePayload={"attributes": {"site": "nara"}})
    assert conflict.value.response["resourceId"]


def test_things_are_listed_page_by_page_and_by_attribute(iot):
    mark = unique("mark")
    names = sorted(unique("listed") for _ in range(5))
    for name in names:
        iot.create_thing(thingName=name, attributePayload={"attributes": {"mark": mark}})
    listed = all_pages(
        iot.list_things, "things", attributeName="mark", attributeValue=mark, maxResults=2
    )
    assert sorted(entry["thingName"] for entry in listed) == names
    assert listed[0]["attributes"] == {"mark": mark}
    everything = all_pages(iot.list_things, "things", maxResults=3)
    assert set(names) <= {entry["thingName"] for entry in everything}


@pytest.mark.parametrize("name", ["a b", "a/b", "x" * 129, "#"])
def test_a_name_outside_the_alphabet_is_refused(iot, name):
    with pytest.raises(iot.exceptions.InvalidRequestException) as invalid:
        iot.create_thing(thingName=name)
    assert invalid.value.response["Error"]["Message"]


def test_a_type_names_what_things_have_in_common(iot):
    kind = unique("type")
    iot.create_thing_type(
        thingTypeName=kind, thingTypeProperties={"searchableAttributes": ["site"]}
    )
    name = unique("thing")
    iot.create_thing(thingName=name, thingTypeName=kind)
    assert iot.describe_thing(thingName=name)["thingTypeName"] == kind
    listed = iot.list_things(thingTypeName=kind)["things"]
    assert [entry["thingName"] for entry in listed] == [name]
    assert kind in [t["thingTypeName"] for t in all_pages(iot.list_thing_types, "thingTypes")]
    iot.deprecate_thing_type(thingTypeName=kind)
    assert iot.describe_thing_type(thingTypeName=kind)["thingTypeMetadata"]["deprecated"] is True
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.create_thing(thingName=unique("thing"), thingTypeName=kind)


def test_a_thing_and_a_principal_are_attached_and_detached(iot, thing, certificate):
    principal = certificate["certificateArn"]
    iot.attach_thing_principal(thingName=thing, principal=principal)
    assert iot.list_thing_principals(thingName=thing)["principals"] == [principal]
    assert iot.list_principal_things(principal=principal)["things"] == [thing]
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.delete_thing(thingName=thing)
    iot.detach_thing_principal(thingName=thing, principal=principal)
    assert iot.list_thing_principals(thingName=thing)["principals"] == []
    iot.delete_thing(thingName=thing)


def test_an_exclusive_principal_belongs_to_one_thing(iot, thing, certificate):
    principal = certificate["certificateArn"]
    iot.attach_thing_principal(
        thingName=thing, principal=principal, thingPrincipalType="EXCLUSIVE_THING"
    )
    listed = iot.list_thing_principals_v2(thingName=thing)["thingPrincipalObjects"]
    assert listed == [{"principal": principal, "thingPrincipalType": "EXCLUSIVE_THING"}]
    other = unique("thing")
    iot.create_thing(thingName=other)
    with pytest.raises(iot.exceptions.ClientError):
        iot.attach_thing_principal(thingName=other, principal=principal)


def test_groups_hold_things_and_groups(iot, thing):
    parent, child = unique("parent"), unique("child")
    made = iot.create_thing_group(thingGroupName=parent)
    assert made["thingGroupArn"].endswith(f":thinggroup/{parent}")
    iot.create_thing_group(thingGroupName=child, parentGroupName=parent)
    iot.add_thing_to_thing_group(thingGroupName=child, thingName=thing)
    assert iot.list_things_in_thing_group(thingGroupName=child)["things"] == [thing]
    assert iot.list_things_in_thing_group(thingGroupName=parent)["things"] == []
    deep = iot.list_things_in_thing_group(thingGroupName=parent, recursive=True)
    assert deep["things"] == [thing]
    groups = iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]
    assert [group["groupName"] for group in groups] == [child]
    below = iot.list_thing_groups(parentGroup=parent)["thingGroups"]
    assert [group["groupName"] for group in below] == [child]
    described = iot.describe_thing_group(thingGroupName=child)
    assert described["thingGroupMetadata"]["parentGroupName"] == parent
    iot.update_thing_group(
        thingGroupName=child,
        thingGroupProperties={
            "thingGroupDescription": "below",
            "attributePayload": {"attributes": {"floor": "2"}},
        },
        expectedVersion=described["version"],
    )
    properties = iot.describe_thing_group(thingGroupName=child)["thingGroupProperties"]
    assert properties["thingGroupDescription"] == "below"
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.delete_thing_group(thingGroupName=parent)
    iot.remove_thing_from_thing_group(thingGroupName=child, thingName=thing)
    assert iot.list_things_in_thing_group(thingGroupName=child)["things"] == []
    iot.delete_thing_group(thingGroupName=child)
    iot.delete_thing_group(thingGroupName=parent)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing_group(thingGroupName=parent)


def test_a_thing_changes_groups_in_one_step(iot, thing):
    before, after = unique("group"), unique("group")
    for group in (before, after):
        iot.create_thing_group(thingGroupName=group)
    iot.add_thing_to_thing_group(thingGroupName=before, thingName=thing)
    iot.update_thing_groups_for_thing(
        thingName=thing, thingGroupsToAdd=[after], thingGroupsToRemove=[before]
    )
    groups = iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]
    assert [group["groupName"] for group in groups] == [after]


def test_tags_are_put_on_and_taken_off(iot):
    group = unique("tagged")
    arn = iot.create_thing_group(thingGroupName=group, tags=[{"Key": "a", "Value": "1"}])[
        "thingGroupArn"
    ]
    iot.tag_resource(resourceArn=arn, tags=[{"Key": "b", "Value": "2"}])
    tags = iot.list_tags_for_resource(resourceArn=arn)["tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "2"}
    iot.untag_resource(resourceArn=arn, tagKeys=["a"])
    tags = iot.list_tags_for_resource(resourceArn=arn)["tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"b": "2"}


def test_a_certificate_is_issued_with_its_keys(iot, certificate):
    assert "BEGIN CERTIFICATE" in certificate["certificatePem"]
    assert "PRIVATE KEY" in certificate["keyPair"]["PrivateKey"]
    assert "PUBLIC KEY" in certificate["keyPair"]["PublicKey"]
    seen = iot.describe_certificate(certificateId=certificate["certificateId"])[
        "certificateDescription"
    ]
    assert seen["certificateArn"] == certificate["certificateArn"]
    assert seen["status"] == "ACTIVE"
    assert seen["certificatePem"].split() == certificate["certificatePem"].split()
    assert seen["validity"]["notBefore"] < seen["validity"]["notAfter"]


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def test_a_certificate_is_issued_from_a_signing_request(iot, tmp_path):
    openssl(
        tmp_path,
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "device.key", "-subj", "/CN=from-csr/O=Example", "-out", "device.csr",
    )
    made = iot.create_certificate_from_csr(
        certificateSigningRequest=(tmp_path / "device.csr").read_text(), setAsActive=True
    )
    (tmp_path / "device.pem").write_text(made["certificatePem"])
    subject = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "device.pem", "-noout", "-subject"],
        capture_output=True, text=True, check=True,
    ).stdout
    assert "from-csr" in subject
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.create_certificate_from_csr(certificateSigningRequest="not a request")


def test_a_certificate_of_ones_own_is_registered_without_a_ca(iot, tmp_path):
    openssl(
        tmp_path,
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "own.key", "-subj", "/CN=own", "-days", "30", "-out", "own.pem",
    )
    pem = (tmp_path / "own.pem").read_text()
    made = iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    digest = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "own.pem", "-noout", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout.strip().split("=")[1].replace(":", "").lower()
    assert made["certificateId"] == digest
    with pytest.raises(iot.exceptions.ResourceAlreadyExistsException):
        iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")


def test_an_active_certificate_is_not_deleted(iot, certificate):
    which = {"certificateId": certificate["certificateId"]}
    with pytest.raises(iot.exceptions.CertificateStateException):
        iot.delete_certificate(**which)
    iot.update_certificate(**which, newStatus="INACTIVE")
    iot.delete_certificate(**which)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_certificate(**which)


def test_an_attached_certificate_is_deleted_only_with_force(iot, certificate, workshop):
    which = {"certificateId": certificate["certificateId"]}
    policy = workshop.policy()
    iot.attach_policy(policyName=policy, target=certificate["certificateArn"])
    iot.update_certificate(**which, newStatus="INACTIVE")
    with pytest.raises(iot.exceptions.DeleteConflictException):
        iot.delete_certificate(**which)
    iot.delete_certificate(**which, forceDelete=True)


def test_certificates_are_listed_page_by_page(iot):
    made = {iot.create_keys_and_certificate()["certificateId"] for _ in range(3)}
    listed, marker = [], None
    while True:
        page = iot.list_certificates(pageSize=2, **({"marker": marker} if marker else {}))
        listed += page["certificates"]
        marker = page.get("nextMarker")
        if not marker:
            break
    by_id = {entry["certificateId"]: entry for entry in listed}
    assert made <= set(by_id)
    assert {by_id[one]["status"] for one in made} == {"INACTIVE"}


def test_a_policy_has_versions_and_one_is_the_default(iot):
    name = unique("policy")
    made = iot.create_policy(policyName=name, policyDocument=json.dumps(ALLOW_ALL))
    assert (made["policyName"], made["policyVersionId"]) == (name, "1")
    assert made["policyArn"].endswith(f":policy/{name}")
    narrower = json.dumps(ALLOW_ALL | {"Id": "second"})
    second = iot.create_policy_version(policyName=name, policyDocument=narrower)
    assert (second["policyVersionId"], second["isDefaultVersion"]) == ("2", False)
    assert iot.get_policy(policyName=name)["defaultVersionId"] == "1"
    iot.set_default_policy_version(policyName=name, policyVersionId="2")
    current = iot.get_policy(policyName=name)
    assert current["defaultVersionId"] == "2"
    assert json.loads(current["policyDocument"])["Id"] == "second"
    versions = iot.list_policy_versions(policyName=name)["policyVersions"]
    assert {v["versionId"]: v["isDefaultVersion"] for v in versions} == {"1": False, "2": True}
    assert iot.get_policy_version(policyName=name, policyVersionId="1")["policyDocument"]
    for _ in range(3):
        iot.create_policy_version(policyName=name, policyDocument=json.dumps(ALLOW_ALL))
    with pytest.raises(iot.exceptions.VersionsLimitExceededException):
        iot.create_policy_version(policyName=name, policyDocument=json.dumps(ALLOW_ALL))
    with pytest.raises(iot.exceptions.DeleteConflictException):
        iot.delete_policy(policyName=name)
    for version in ("1", "3", "4", "5"):
        iot.delete_policy_version(policyName=name, policyVersionId=version)
    iot.delete_policy(policyName=name)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.get_policy(policyName=name)


def test_a_policy_is_attached_to_certificates_and_groups(iot, certificate, workshop):
    policy, group = workshop.policy(), unique("group")
    group_arn = iot.create_thing_group(thingGroupName=group)["thingGroupArn"]
    targets = [certificate["certificateArn"], group_arn]
    for target in targets:
        iot.attach_policy(policyName=policy, target=target)
        attached = iot.list_attached_policies(target=target)["policies"]
        assert [entry["policyName"] for entry in attached] == [policy]
    assert sorted(iot.list_targets_for_policy(policyName=policy)["targets"]) == sorted(targets)
    with pytest.raises(iot.exceptions.DeleteConflictException):
        iot.delete_policy(policyName=policy)
    for target in targets:
        iot.detach_policy(policyName=policy, target=target)
        assert iot.list_attached_policies(target=target)["policies"] == []
    iot.delete_policy(policyName=policy)


def test_the_older_names_of_attaching_work_too(iot, certificate, workshop):
    policy, principal = workshop.policy(), certificate["certificateArn"]
    iot.attach_principal_policy(policyName=policy, principal=principal)
    listed = iot.list_principal_policies(principal=principal)["policies"]
    assert [entry["policyName"] for entry in listed] == [policy]
    assert iot.list_policy_principals(policyName=policy)["principals"] == [principal]
    iot.detach_principal_policy(policyName=policy, principal=principal)
    assert iot.list_principal_policies(principal=principal)["policies"] == []


def test_the_endpoint_is_told(iot, hub):
    for kind in ("iot:Data-ATS", "iot:CredentialProvider"):
        assert iot.describe_endpoint(endpointType=kind)["endpointAddress"]
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.describe_endpoint(endpointType="iot:Nonsense")


def test_event_configurations_are_kept(own_hub):
    iot = own_hub.boto("iot")
    assert iot.describe_event_configurations()["eventConfigurations"]["THING"]["Enabled"] is False
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    configurations = iot.describe_event_configurations()["eventConfigurations"]
    assert configurations["THING"]["Enabled"] is True
    assert configurations["CERTIFICATE"]["Enabled"] is False


def test_the_caller_is_told_who_it_is(hub):
    identity = hub.boto("sts").get_caller_identity()
    assert identity["Account"].isdigit()
    assert identity["Arn"].startswith("arn:aws:")


def test_the_region_of_the_request_is_the_region_of_its_arns(hub):
    tokyo = hub.boto("iot", region_name="ap-northeast-1")
    made = tokyo.create_thing(thingName=unique("thing"))
    assert made["thingArn"].startswith("arn:aws:iot:ap-northeast-1:")


def test_a_wrong_secret_is_a_wrong_signature(hub):
    stranger = hub.boto("iot", aws_secret_access_key="x" * 40)
    with pytest.raises(stranger.exceptions.ClientError) as refused:
        stranger.list_things()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refused.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_an_unknown_key_is_an_unrecognized_client(hub):
    stranger = hub.boto("iot", aws_access_key_id="AKIANOBODYKNOWSTHIS0")
    with pytest.raises(stranger.exceptions.ClientError) as refused:
        stranger.list_things()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_the_registry_survives_a_kill(own_hub):
    iot = own_hub.boto("iot")
    names = [unique("kept") for _ in range(10)]
    for name in names:
        iot.create_thing(thingName=name)
    own_hub.kill()
    own_hub.start()
    listed = {entry["thingName"] for entry in all_pages(iot.list_things, "things")}
    assert set(names) <= listed
