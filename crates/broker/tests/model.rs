//! The broker against a reference that anybody can check by reading.

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_client_sees_what_a_naive_broker_would_show_it(
        transitions in proptest::collection::vec(any::<[u8; 4]>(), 0..120),
    ) {
        let bytes = transitions.concat();
        prop_assert_eq!(broker::exercise::model(&bytes), Ok(()));
    }
}
