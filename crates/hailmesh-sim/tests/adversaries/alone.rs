//! Every behaviour alone in a small city: it really took place, honest people kept
//! everything they were promised, and whoever contradicted itself was found out.

use hailmesh_sim::adversary::{Behaviour, Exposure};
use hailmesh_sim::city::{City, Report};

/// A few drivers, a few riders, some attackers.
fn small(behaviour: Behaviour) -> City {
    let seed = 100 + Behaviour::ALL.iter().position(|one| *one == behaviour).unwrap_or(0) as u64;
    let city = City::grid().drivers(8).riders_per_hour(300.0).minutes(5);
    city.adversary(behaviour, 4).loss(0.01).seed(seed)
}

fn check(behaviour: Behaviour, report: &Report) {
    let tally = report.tally(behaviour).expect("somebody tried it");
    println!("adversary {tally}");
    report.assert_sound();
    assert!(tally.attempts >= 4, "{behaviour} did not attack: {tally:?}");
    let met = tally.met_with(behaviour.met_with());
    assert!(met > 0, "nobody honest met {behaviour}: {tally:?}");
    match behaviour.exposure() {
        Exposure::Proof(_) => {
            assert!(tally.exposed > 0, "{behaviour} was never read as a whole: {tally:?}");
            assert_eq!(tally.exposed, tally.complete, "{tally:?}");
        }
        Exposure::None(_) => assert_eq!(tally.complete, tally.exposed, "{tally:?}"),
    }
}

/// One test each, so that a failure has a name.
macro_rules! alone {
    ($($test:ident = $behaviour:ident;)*) => {
        $(
            #[test]
            fn $test() {
                check(Behaviour::$behaviour, &small(Behaviour::$behaviour).run());
            }
        )*

        #[test]
        fn every_behaviour_has_a_test() {
            let tested = [$(Behaviour::$behaviour),*];
            for behaviour in Behaviour::ALL {
                assert!(tested.contains(behaviour), "{behaviour} has no test");
            }
        }
    };
}

alone! {
    two_stories = TwoStories;
    two_stories_of_a_rider = RiderTwoStories;
    forked_heads = ForkedHeads;
    overlapping_shifts = OverlappingShifts;
    a_sequence_rolled_back = SequenceRollback;
    stale_replay = StaleReplay;
    cross_network_replay = CrossNetwork;
    offers_from_the_future = FromTheFuture;
    wrong_topics = WrongTopic;
    sybils = Sybils;
    eclipse = Eclipse;
    invite_spam = InviteSpam;
    weak_keys = WeakKeys;
    non_canonical_bytes = NonCanonical;
    malleated_signatures = Malleated;
    forged_copies = ForgedCopies;
    a_flood_of_signatures = SignatureFlood;
    oversized_messages = Oversized;
    other_versions = OtherVersions;
    garbage_frames = GarbageFrames;
    framing = Framing;
    a_flood_of_evidence = EvidenceFlood;
    ghosts = Ghost;
    accept_and_vanish = AcceptAndVanish;
    acknowledge_and_vanish = AckAndVanish;
    slow_readers = SlowReader;
    double_accept = DoubleAccept;
    double_accept_without_another_offer = SilentDoubleAccept;
    another_tariff = BaitTariff;
    another_fare = BaitFare;
    lying_status = LyingStatus;
    a_replayed_confirm = ReplayedConfirm;
    a_false_lapse = FalseLapse;
    a_borrowed_release = BorrowedRelease;
    a_forked_chain = ForkedChain;
    a_void_chain = VoidChain;
    a_false_boarding = FalseBoarding;
    contradictory_ends = ContradictoryEnds;
    ends_of_what_was_turned_down = EndsOfTheUntaken;
    a_witness_flushed = WitnessFlush;
    hold_griefing = HoldGriefing;
    a_flood_of_requests = ShoppingFlood;
    two_confirms = TwoConfirms;
    two_drivers = TwoDrivers;
    the_wrong_driver = WrongDriver;
    the_confirm_of_another = AnothersConfirm;
    a_bad_opening = BadOpening;
    a_forged_release = ForgedRelease;
    a_forged_cosign = ForgedCosign;
    contradictory_releases = ContradictoryReleases;
}

/// The attacks on the form of signatures once more, against real ones.
#[test]
fn attacks_on_signatures_fail_against_real_ones() {
    for behaviour in
        [Behaviour::WeakKeys, Behaviour::NonCanonical, Behaviour::Malleated, Behaviour::ForgedCopies]
    {
        check(behaviour, &small(behaviour).real_signatures().run());
    }
}
