//! Clients that are not who they should be: each is told so, and nobody else notices.

#![allow(dead_code, reason = "the world is shared with other test programs")]

#[path = "../../mqtt-proto/tests/notation/mod.rs"]
mod notation;
mod world;

use std::time::Duration;

use hub::clock::Clock;
use model::limits::Profile;
use world::{Client, World};

/// Another client, which goes on as before whatever happens to this one.
async fn bystander(world: &World) -> Client {
    let mut client = world.v311("bystander").await;
    client.say("82 * 0001 \"open/#\" 00").await;
    client.hears("90 * 0001 00").await;
    client
}

async fn check_untouched(mut client: Client) {
    client.say("30 * \"open/a\" 'x'").await;
    client.hears("30 * \"open/a\" 'x'").await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_unknown() {
    let world = World::new().await;
    let bystander = bystander(&world).await;
    let now = world.clock.now();
    let (elsewhere, _) = ca::Authority::create(now).expect("an authority");
    let identity = elsewhere
        .issue_device(
            &ca::Subject::common_name("device"),
            ca::DeviceKey::P256,
            now,
            now.after(Duration::from_secs(3600)),
        )
        .expect("a certificate");
    let mut client = world.dial_with(vec![identity.certificate.der().into()], 1024);
    client.say("10 * \"MQTT\" 04 02 0000 \"c\"").await;
    client.hears("20 02 00 05").await;
    client.hears_the_end().await;
    world.records("certificate.unknown").await;
    check_untouched(bystander).await;
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_such() {
    let world = World::new().await;
    let year = Duration::from_secs(365 * 24 * 3600);
    world.clock.advance(year + Duration::from_secs(1));
    let mut client = world.dial();
    client.say("10 * \"MQTT\" 04 02 0000 \"c\"").await;
    client.hears("20 02 00 05").await;
    client.hears_the_end().await;
    world.records("certificate.expired").await;
}

#[tokio::test]
async fn a_stolen_client_id_is_refused_and_its_owner_stays() {
    let patterns = "client/bystander topic/open/* topicfilter/open/*";
    let world = World::allowing(Profile::Standard, patterns).await;
    let bystander = bystander(&world).await;
    let mut thief = world.dial();
    thief.say("10 * \"MQTT\" 04 02 0000 \"victim\"").await;
    thief.hears("20 02 00 05").await;
    thief.hears_the_end().await;
    let entry = world.records("policy.no-statement").await;
    let client_id = entry.client_id.as_ref().map(model::ClientId::as_str);
    assert_eq!(client_id, Some("victim"));
    check_untouched(bystander).await;
}

#[tokio::test]
async fn a_client_on_ever_new_topics_and_filters_meets_its_bound() {
    let world = World::new().await;
    let bystander = bystander(&world).await;
    let mut client = world.v311("c").await;
    let bound = model::limits::SUBSCRIPTIONS_PER_SESSION;
    let per_packet = 250;
    for first in (0..bound).step_by(per_packet) {
        let filters: String = (first..first + per_packet)
            .map(|number| format!("\"open/{number}\" 00 "))
            .collect();
        client.say(&format!("82 * 0001 {filters}")).await;
        let answer = client.hears_something().await;
        assert!(answer[5..].iter().all(|code| *code == 0), "{first}");
    }
    client.say("82 * 0002 \"open/one-more\" 00").await;
    client.hears("90 * 0002 80").await;
    world.records("subscription.too-many").await;
    drop(client);
    check_untouched(bystander).await;
}
