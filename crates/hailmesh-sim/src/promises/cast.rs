//! The same people and the same hosts for whoever lets a handful of marketplaces play.

use ed25519_dalek::SigningKey;
use hailmesh_market::marketplace::Keys;
use hailmesh_market::{DriverProfile, Role, Wish};
use hailmesh_types::{
    Amount, Class, Duration, Features, GeoPoint, PeerKey, Private, Resolution, Seats, Tariff, Text,
};
use hailmesh_wire::{AcceptMode, VehicleCard};

/// Where drivers wait.
pub const HERE: &str = "40.7580,-73.9855";
/// Where riders want to be picked up: a few minutes from [`HERE`].
pub const NEAR: &str = "40.7614,-73.9776";
/// Where they want to go.
pub const THERE: &str = "40.7484,-73.9857";

/// One of these places, or another that is written likewise.
///
/// # Panics
/// When it is no place.
#[must_use]
pub fn place(text: &str) -> Private<GeoPoint> {
    Private(text.parse().expect("a place"))
}

/// What a driver offers: an ordinary car at the default tariff.
///
/// # Panics
/// Never.
#[must_use]
pub fn profile(accept_mode: AcceptMode) -> DriverProfile {
    DriverProfile {
        class: Class::STANDARD,
        seats: Seats::new(4).expect("as many as a car has"),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode,
        precision: Resolution::PICKUP,
        discount: 0,
        vehicle: VehicleCard {
            plate: Text::new("HM 1").expect("short"),
            model: Text::new("Estate").expect("short"),
            colour: Text::new("blue").expect("short"),
            photo: None,
            credential_salt: None,
        },
    }
}

/// What a rider wants: from [`NEAR`] to [`THERE`] for at most so much, in minor units, made
/// known to drivers or not.
///
/// # Panics
/// When nothing costs that much.
#[must_use]
pub fn wish(max_fare: Option<u64>, open: bool) -> Wish {
    Wish {
        from: place(NEAR),
        to: Some(place(THERE)),
        max_fare: max_fare.map(|fare| Amount::from_minor(fare).expect("a fare")),
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: Duration::from_secs(60),
        pickup_within: None,
        open,
        name: Text::new("R").expect("short"),
        phone: Text::default(),
        note: Text::default(),
    }
}

/// The keys of a host: the same identity always, and a transport identity for each process.
/// Drivers do not use the latter; theirs is the shift key.
#[must_use]
pub fn keys(host: usize, role: Role, process: u64) -> Keys {
    let transport = SigningKey::from_bytes(&seed(2, host, process));
    Keys {
        role: Some(role),
        identity: SigningKey::from_bytes(&seed(1, host, 0)),
        transport: Some(PeerKey::from_bytes(transport.verifying_key().to_bytes())),
        lost: false,
        new_host: false,
    }
}

/// What a marketplace of this host draws from when it starts for this time.
#[must_use]
pub fn randomness(host: usize, run: u64) -> [u8; 32] {
    seed(3, host, run)
}

fn seed(what: u8, host: usize, run: u64) -> [u8; 32] {
    let mut seed = [what; 32];
    seed[1] = u8::try_from(host).unwrap_or(0);
    seed[2..10].copy_from_slice(&run.to_le_bytes());
    seed
}
