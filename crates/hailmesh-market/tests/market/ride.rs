//! After FIRM: what either side may say, how often, to whom, and what is believed (P8, P9).

use ed25519_dalek::SigningKey;
use hailmesh_market::{Command, CommandError, Completion, Config, Event, Record, RideId};
use hailmesh_types::{AgreementId, Amount, Duration, PeerKey, StatementId, Text};
use hailmesh_wire::{
    Arrived, Attachment, Boarded, Body, Complete, Cosign, Dispute, EnRoute, Frame, FrameContent, Rating,
    RejectReason, RideState, Signed, Verified,
};

use crate::scenarios::{HERE, NEAR, THERE, finish};
use crate::world::*;

/// A driver and a rider who are firm with each other.
struct Pair {
    world: World,
    driver: Name,
    rider: Name,
    /// As the driver, and as the rider, calls it.
    at_driver: RideId,
    ride: RideId,
}

impl Pair {
    fn new(seed: u64, configure: impl Fn(&mut Config)) -> Self {
        let mut world = World::new(seed);
        let driver = world.driver_with(HERE, &configure, |_| {});
        let mut config = Config::default();
        configure(&mut config);
        let rider = world.add(Some(hailmesh_market::Role::Rider), config);
        world.run(500);
        let ride = world.request(rider, NEAR, THERE);
        let is_firm = |world: &World, name| world.last_state(name) == Some(RideState::Firm);
        assert!(world.run_until(5_000, |world| is_firm(world, rider) && is_firm(world, driver)));
        let at_driver = world.last_ride(driver).unwrap().ride;
        Self { world, driver, rider, at_driver, ride }
    }

    fn state(&self) -> RideState {
        self.world.state(self.rider, self.ride).unwrap()
    }

    fn eta(&self) -> Option<Duration> {
        self.world.view(self.rider, self.ride).eta
    }

    /// The driver does something with the ride.
    fn drive(&mut self, command: impl Fn(RideId) -> Command) -> Result<(), CommandError> {
        self.world.command(self.driver, command(self.at_driver)).map(drop)
    }

    /// The rider does.
    fn ride(&mut self, command: impl Fn(RideId) -> Command) -> Result<(), CommandError> {
        self.world.command(self.rider, command(self.ride)).map(drop)
    }

    /// The 26 characters of the QR code.
    fn secret(&self) -> String {
        self.world.view(self.rider, self.ride).boarding_secret.unwrap().0
    }

    /// Nothing that the driver says reaches the rider, until [`Pair::heal`].
    fn cut(&mut self) {
        self.world.cut.insert((self.driver, self.rider));
    }

    fn heal(&mut self) {
        self.world.cut.clear();
    }

    fn board(&mut self) {
        let secret = self.secret();
        self.drive(|ride| Command::Board(ride, secret.clone())).unwrap();
        self.world.run(100);
        assert_eq!(self.state(), RideState::InProgress);
    }

    /// What the driver has said last of a kind.
    fn said<T: Body>(&self) -> Signed<T> {
        self.world.statements::<T>(self.driver, Whose::Own).pop().unwrap()
    }

    /// What the rider says of its own accord.
    fn replies<T: Body>(&self) -> usize {
        self.world.statements::<T>(self.rider, Whose::Own).len()
    }

    /// What the rider has taken up.
    fn heard<T: Body>(&self) -> usize {
        self.world.statements::<T>(self.rider, Whose::Theirs).len()
    }

    /// The driver says this to the rider; the answer.
    fn say<T: Body>(&mut self, statement: &Signed<T>) -> Frame {
        let peer = self.world.peer(self.driver);
        self.world.say(peer, self.rider, statement).expect("an answer")
    }

    /// The driver signs something else.
    fn sign<T: Body + Clone>(&self, like: &Signed<T>, change: impl Fn(&mut T)) -> Verified<T> {
        let key = self.world.secret(self.driver, like.signer());
        changed(&key, like, change)
    }

    fn told(&self, event: impl Fn(&Event) -> bool) -> usize {
        self.world.hosts[self.rider].events.iter().filter(|told| event(told)).count()
    }

    fn disputed(&self) -> usize {
        self.told(|event| matches!(event, Event::FareDisputed { .. }))
    }

    /// How often the rider has written that its ride came to this.
    fn came_to(&self, phase: RideState) -> usize {
        let journal = &self.world.hosts[self.rider].journal;
        let is_it = |record: &&Record| matches!(record, Record::Progress { phase: to, .. } if *to == phase);
        journal.iter().filter(is_it).count()
    }
}

fn changed<T: Body + Clone>(key: &SigningKey, like: &Signed<T>, change: impl Fn(&mut T)) -> Verified<T> {
    let mut body = like.body().clone();
    change(&mut body);
    Verified::sign(key, like.network(), body)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds)
}

fn nothing() -> FrameContent {
    FrameContent::None
}

fn refused(reason: RejectReason) -> FrameContent {
    FrameContent::Refused(reason)
}

/// A COMPLETE that needs the rider's word.
fn with_toll(minor: u64) -> Completion {
    Completion { extra: Some(Amount::from_minor(minor).unwrap()), ..Completion::default() }
}

#[test]
fn a_driver_says_en_route_every_thirty_seconds_at_most_and_so_often() {
    let mut pair = Pair::new(80, |config| config.limits.en_route = 3);
    let said = |pair: &Pair| pair.world.statements::<EnRoute>(pair.driver, Whose::Own).len();
    for (pause, expected) in
        [(0, 1), (0, 1), (29_999, 1), (1, 2), (29_999, 2), (1, 3), (30_000, 3), (90_000, 3)]
    {
        pair.world.run(pause);
        pair.drive(|ride| Command::EnRoute(ride, seconds(600))).unwrap();
        assert_eq!(said(&pair), expected, "after another {pause} ms");
    }
}

#[test]
fn of_en_route_a_rider_takes_so_many_and_believes_the_latest() {
    let mut pair = Pair::new(81, |_| {});
    pair.world.hosts[pair.rider].config.limits.en_route = 3;
    pair.world.crash(pair.rider);
    pair.world.start(pair.rider);
    pair.drive(|ride| Command::EnRoute(ride, seconds(600))).unwrap();
    pair.world.run(20_000);
    let first = pair.said::<EnRoute>();
    assert_eq!(pair.eta(), Some(seconds(600)));
    let after = |pair: &Pair, ms, eta| {
        pair.sign(&first, |body| {
            body.issued = body.issued + Duration::from_millis(ms);
            body.eta = seconds(eta);
        })
    };
    let (second, third, fourth) =
        (after(&pair, 1_000, 500), after(&pair, 2_000, 400), after(&pair, 3_000, 300));
    // They overtake each other.
    for (statement, answer, eta) in [
        (&third, nothing(), 400),
        (&second, nothing(), 400),
        (&fourth, refused(RejectReason::Rate), 400),
        // Its answer was lost: that it is the last one that may be said does not matter.
        (&second, nothing(), 400),
    ] {
        assert_eq!(pair.say(statement).content, answer);
        assert_eq!(pair.eta(), Some(seconds(eta)));
    }
    assert_eq!(pair.heard::<EnRoute>(), 3);
    assert_eq!(pair.came_to(RideState::EnRoute), 3);
}

#[test]
fn nobody_else_speaks_about_a_ride() {
    let mut pair = Pair::new(82, |_| {});
    pair.cut();
    let secret = pair.secret();
    pair.drive(|ride| Command::EnRoute(ride, seconds(600))).unwrap();
    pair.drive(Command::Arrive).unwrap();
    pair.drive(|ride| Command::Board(ride, secret.clone())).unwrap();
    pair.drive(|ride| Command::Complete(ride, Completion::default())).unwrap();
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let peer = pair.world.peer(pair.driver);
    let events = pair.world.hosts[pair.rider].events.len();
    let rider = pair.rider;
    let en_route = changed(&stranger, &pair.said::<EnRoute>(), |_| {});
    let arrived = changed(&stranger, &pair.said::<Arrived>(), |_| {});
    let boarded = changed(&stranger, &pair.said::<Boarded>(), |_| {});
    let complete = changed(&stranger, &pair.said::<Complete>(), |_| {});
    let answers = [
        pair.world.say(peer, rider, &en_route),
        pair.world.say(peer, rider, &arrived),
        pair.world.say(peer, rider, &boarded),
        pair.world.say(peer, rider, &complete),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap(), Frame::new(refused(RejectReason::Unknown)));
    }
    assert_eq!(pair.state(), RideState::Firm);
    assert_eq!(pair.world.hosts[pair.rider].events.len(), events);
    // Nor does the rider about what its driver does.
    let statement = pair.said::<Arrived>();
    let key = {
        let confirm = pair.world.statements::<hailmesh_wire::Confirm>(rider, Whose::Own).remove(0);
        pair.world.secret(rider, confirm.signer())
    };
    let to = *statement.signer();
    let mine = changed(&key, &statement, |body| body.to = to);
    let (peer, driver) = (pair.world.peer(rider), pair.driver);
    let answer = pair.world.say(peer, driver, &mine);
    assert_eq!(answer.unwrap(), Frame::new(refused(RejectReason::Unknown)));
}

#[test]
fn of_arrived_a_rider_takes_so_many() {
    let mut pair = Pair::new(83, |config| config.limits.arrived = 2);
    pair.drive(Command::Arrive).unwrap();
    pair.world.run(1_000);
    let first = pair.said::<Arrived>();
    let after =
        |pair: &Pair, ms| pair.sign(&first, |body| body.issued = body.issued + Duration::from_millis(ms));
    let (second, third) = (after(&pair, 1_000), after(&pair, 2_000));
    assert_eq!(pair.say(&second).content, nothing());
    assert_eq!(pair.say(&third).content, refused(RejectReason::Rate));
    assert_eq!(pair.say(&second).content, nothing());
    assert_eq!(pair.heard::<Arrived>(), 2);
}

#[test]
fn a_late_arrived_changes_nothing() {
    for is_over in [true, false] {
        let mut pair = Pair::new(84, |_| {});
        pair.cut();
        pair.drive(Command::Arrive).unwrap();
        let arrived = pair.said::<Arrived>();
        if is_over {
            pair.ride(Command::Cancel).unwrap();
        } else {
            let secret = pair.secret();
            pair.drive(|ride| Command::Board(ride, secret.clone())).unwrap();
            let boarded = pair.said::<Boarded>();
            pair.say(&boarded);
        }
        let state = pair.state();
        assert_eq!(state, if is_over { RideState::Cancelled } else { RideState::InProgress });
        assert_eq!(pair.say(&arrived).content, nothing());
        assert_eq!(pair.state(), state);
        assert_eq!(pair.came_to(RideState::Arrived), 0);
    }
}

#[test]
fn the_destination_goes_to_the_driver_alone_and_at_once() {
    let mut pair = Pair::new(85, |_| {});
    let secret = pair.secret();
    pair.cut();
    pair.drive(|ride| Command::Board(ride, secret.clone())).unwrap();
    let boarded = pair.said::<Boarded>();
    let wrong = pair.sign(&boarded, |body| body.board_secret[0] ^= 1);
    assert_eq!(pair.say(&wrong), Frame::new(refused(RejectReason::Bad)));
    assert_eq!(pair.state(), RideState::Firm);
    // Whoever repeats what the driver has said is told nothing.
    let (stranger, rider) = (PeerKey::from_bytes([9; 32]), pair.rider);
    let answer = pair.world.say(stranger, rider, &boarded).unwrap();
    assert_eq!(answer, Frame::new(nothing()));
    assert_eq!(pair.state(), RideState::InProgress, "the driver has signed it all the same");
    let answer = pair.say(&boarded);
    assert!(matches!(answer.attachments[..], [Attachment::DropOpening(_)]), "{answer:?}");
    // It was said before: the ride does not begin a second time.
    assert_eq!(pair.came_to(RideState::InProgress), 1);
    assert_eq!(pair.world.view(pair.driver, pair.at_driver).drop, None);
    // And without a cut it is known when the answer is.
    let mut pair = Pair::new(86, |_| {});
    let error = pair.drive(|ride| Command::Board(ride, secret.clone())).unwrap_err();
    assert!(error.to_string().contains("not the secret of this ride"), "{error}");
    pair.board();
    assert_eq!(pair.world.view(pair.driver, pair.at_driver).drop.unwrap().0, THERE.parse().unwrap());
}

#[test]
fn a_boarding_code_is_read_with_spaces_and_dashes() {
    let mut pair = Pair::new(87, |_| {});
    let code = pair.world.view(pair.rider, pair.ride).boarding_code.unwrap().0;
    let spaced = format!(" {}-{} {}", &code[..2], &code[2..4], &code[4..]);
    pair.drive(|ride| Command::Board(ride, spaced.clone())).unwrap();
    pair.world.run(100);
    assert_eq!(pair.state(), RideState::InProgress);
}

#[test]
fn a_ride_lasts_twelve_hours_at_most() {
    let mut pair = Pair::new(88, |_| {});
    pair.board();
    for (stated, said) in [(43_199, 43_199), (43_200, 43_200), (43_201, 43_200), (360_000, 43_200)] {
        let figures = Completion { ride_time: Some(seconds(stated)), ..with_toll(100) };
        pair.world.run(1_000);
        pair.drive(|ride| Command::Complete(ride, figures)).unwrap();
        assert_eq!(pair.said::<Complete>().body().ride_time, seconds(said));
    }
}

#[test]
fn a_fare_is_proposed_so_often_and_heard_so_often() {
    let mut pair = Pair::new(89, |config| config.limits.complete = 2);
    pair.board();
    for toll in [100, 200] {
        pair.drive(|ride| Command::Complete(ride, with_toll(toll))).unwrap();
        pair.world.run(1_000);
    }
    let error = pair.drive(|ride| Command::Complete(ride, with_toll(300))).unwrap_err();
    assert!(error.to_string().contains("as often as it may be"), "{error}");
    let second = pair.said::<Complete>();
    let third = pair.sign(&second, |body| body.issued = body.issued + Duration::from_millis(1));
    assert_eq!(pair.say(&third).content, refused(RejectReason::Rate));
    assert_eq!(pair.disputed(), 2, "each of the two is shown");
    assert_eq!(pair.say(&second).content, nothing());
    assert_eq!((pair.heard::<Complete>(), pair.disputed()), (2, 2), "once");
    assert_eq!(pair.replies::<Dispute>(), 0, "the user decides");
    pair.ride(Command::Accept).unwrap();
    pair.world.run(100);
    assert_eq!(pair.state(), RideState::Completed);
    assert_eq!(pair.world.view(pair.rider, pair.ride).total, Some(second.body().total));
}

/// The driver's COMPLETE of a ride whose BOARDED the rider has not heard.
fn unheard_boarding(seed: u64) -> (Pair, Signed<Complete>) {
    let mut pair = Pair::new(seed, |_| {});
    pair.cut();
    let secret = pair.secret();
    pair.drive(|ride| Command::Board(ride, secret.clone())).unwrap();
    pair.drive(|ride| Command::Complete(ride, Completion::default())).unwrap();
    let complete = pair.said();
    assert_eq!(pair.state(), RideState::Firm);
    (pair, complete)
}

#[test]
fn the_secret_in_a_complete_shows_that_the_rider_was_there() {
    let (mut pair, complete) = unheard_boarding(90);
    pair.heal();
    pair.say(&complete);
    assert_eq!(pair.state(), RideState::Completed);
    assert_eq!(pair.came_to(RideState::InProgress), 1);
    assert_eq!(pair.replies::<Cosign>(), 1);
}

#[test]
fn without_the_secret_a_complete_ends_nothing() {
    let wrong: [fn(&mut Complete); 2] =
        [|body| body.board_secret = None, |body| body.board_secret = Some([3; 16])];
    for change in wrong {
        let (mut pair, complete) = unheard_boarding(91);
        let complete = pair.sign(&complete, change);
        assert_eq!(pair.say(&complete).content, nothing());
        assert_eq!(pair.state(), RideState::Firm);
        assert_eq!((pair.replies::<Cosign>(), pair.disputed()), (0, 1), "the user is asked");
    }
}

#[test]
fn a_complete_must_name_the_confirm_and_add_up() {
    let (mut pair, complete) = unheard_boarding(92);
    let of_another = pair.sign(&complete, |body| body.confirm_id = StatementId::from_bytes([1; 32]));
    assert_eq!(pair.say(&of_another), Frame::new(refused(RejectReason::Bad)));
    assert_eq!((pair.state(), pair.heard::<Complete>()), (RideState::Firm, 0));
    // One that nobody could agree to is disputed by the node itself, three times and no more.
    for (ms, disputes) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let wrong = pair.sign(&complete, |body| {
            body.issued = body.issued + Duration::from_millis(ms);
            body.total = Amount::from_minor(body.total.minor() + 1).unwrap();
        });
        assert_eq!(pair.say(&wrong).content, nothing());
        pair.world.run(100);
        assert_eq!((pair.replies::<Dispute>(), pair.disputed()), (disputes, disputes));
        let error = pair.ride(Command::Accept).unwrap_err();
        assert!(error.to_string().contains("the items do not make this fare"), "{error}");
    }
    assert_eq!(pair.replies::<Cosign>(), 0);
}

#[test]
fn a_rider_disputes_so_often() {
    let mut pair = Pair::new(93, |config| config.limits.disputes = 2);
    pair.board();
    let error = pair.ride(Command::Decline).unwrap_err();
    assert!(error.to_string().contains("not proposed a final fare yet"), "{error}");
    pair.drive(|ride| Command::Complete(ride, with_toll(100))).unwrap();
    pair.world.run(1_000);
    for said in [1, 2] {
        pair.ride(Command::Decline).unwrap();
        pair.world.run(1_000);
        assert_eq!(pair.replies::<Dispute>(), said);
    }
    let error = pair.ride(Command::Decline).unwrap_err();
    assert!(error.to_string().contains("disputed as often as it may be"), "{error}");
    assert_eq!(pair.replies::<Dispute>(), 2);
    let heard = pair.world.statements::<Dispute>(pair.driver, Whose::Theirs);
    assert_eq!(heard.len(), 2);
    // The driver takes no more than that either.
    let (rider, driver) = (pair.rider, pair.driver);
    let key = pair.world.secret(rider, heard[1].signer());
    let third = changed(&key, &heard[1], |body| body.issued = body.issued + Duration::from_millis(1));
    let peer = pair.world.peer(rider);
    assert_eq!(pair.world.say(peer, driver, &third).unwrap().content, refused(RejectReason::Rate));
    assert_eq!(pair.world.say(peer, driver, &heard[1]).unwrap().content, nothing());
}

#[test]
fn a_ride_is_rated_once_by_each() {
    let mut pair = Pair::new(94, |_| {});
    let error = pair.ride(|ride| Command::Rate(ride, 5, Text::default())).unwrap_err();
    assert!(matches!(error, CommandError::WrongState { .. }), "{error}");
    finish(&mut pair.world, pair.driver, pair.rider, pair.ride);
    for stars in [0, 6] {
        let error = pair.ride(|ride| Command::Rate(ride, stars, Text::default())).unwrap_err();
        assert!(error.to_string().contains("expected 1 to 5"), "{error}");
    }
    pair.drive(|ride| Command::Rate(ride, 1, Text::default())).unwrap();
    let error = pair.drive(|ride| Command::Rate(ride, 5, Text::default())).unwrap_err();
    assert!(error.to_string().contains("rated already"), "{error}");
    pair.world.run(40_000);
    let rating = pair.said::<Rating>();
    assert_eq!(pair.heard::<Rating>(), 1);
    assert_eq!(pair.say(&rating).content, nothing());
    let other = pair.sign(&rating, |body| body.stars = 5);
    assert_eq!(pair.say(&other).content, refused(RejectReason::Rate));
    // Of a stranger, and of another ride, it is not known at all.
    let stranger = changed(&SigningKey::from_bytes(&[7; 32]), &rating, |_| {});
    assert_eq!(pair.say(&stranger).content, refused(RejectReason::Unknown));
    let another = AgreementId::from_bytes([5; 32]);
    let elsewhere = pair.sign(&rating, |body| body.agreement_id = another);
    assert_eq!(pair.say(&elsewhere).content, refused(RejectReason::Unknown));
    assert_eq!(pair.heard::<Rating>(), 1);
    pair.ride(|ride| Command::Rate(ride, 5, Text::default())).unwrap();
}
