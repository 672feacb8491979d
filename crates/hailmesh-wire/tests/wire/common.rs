//! Statements of every kind made from arbitrary bytes.
//!
//! A [`Source`] turns bytes into values within their bounds, preferring the bounds
//! themselves; when the bytes run out it yields the least values. So proptest shrinks
//! the bytes and with them the statement.

use hailmesh_types::{
    AMOUNT_MAX, AgreementId, Amount, Cell, Class, Currency, Duration, Features, GeoPoint, Hash, PeerKey,
    PublicKey, Resolution, Seats, StatementId, TIME_MAX_MS, TIME_MIN_MS, Tariff, Text, Timestamp,
};
use hailmesh_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that an envelope adds to its body, at most.
pub(crate) const ENVELOPE_BYTES: usize = 118;

/// What proptest feeds a [`Source`] with.
pub(crate) fn entropy() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..400)
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(crate) fn public(n: u8) -> PublicKey {
    PublicKey::from(key(n).verifying_key())
}

pub(crate) fn network() -> NetworkId {
    NetworkId::of(&"test".parse().unwrap())
}

pub(crate) struct Source<'b> {
    bytes: &'b [u8],
    /// Leaves out extensions and certificates, so that no statement grows too long.
    slim: bool,
}

impl<'b> Source<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, slim: false }
    }

    pub(crate) fn slim(bytes: &'b [u8]) -> Self {
        Self { bytes, slim: true }
    }

    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    fn raw(&mut self) -> u64 {
        (0..4).fold(0, |value, _| value << 16 | u64::from(self.byte()) << 8 | u64::from(self.byte()))
    }

    /// From `min` to `max`; each bound has a chance of one in eight.
    pub(crate) fn int(&mut self, min: u64, max: u64) -> u64 {
        match self.byte() % 8 {
            0 => min,
            1 => max,
            2 => min.saturating_add(self.byte().into()).min(max),
            _ if min == 0 && max == u64::MAX => self.raw(),
            _ => min + self.raw() % (max - min + 1),
        }
    }

    fn small<T: TryFrom<u64>>(&mut self, min: u64, max: u64) -> T {
        T::try_from(self.int(min, max)).ok().unwrap()
    }

    fn ms(&mut self, min: u32, max: u32) -> Duration {
        Duration::from_millis(self.small(min.into(), max.into()))
    }

    fn eta(&mut self) -> Duration {
        Duration::from_secs(30 * self.small::<u32>(0, 240))
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let fill = self.byte();
        let mut bytes = [fill; N];
        bytes[0] = self.byte();
        bytes
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        let len = self.small(0, max as u64);
        vec![self.byte(); len]
    }

    fn list<T>(&mut self, min: u64, max: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.int(min, max)).map(|_| make(self)).collect()
    }

    fn choice<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.byte()) % values.len()]
    }

    fn id(&mut self) -> StatementId {
        StatementId::from_bytes(self.array())
    }

    fn agreement(&mut self) -> AgreementId {
        AgreementId::from_bytes(self.array())
    }

    fn hash(&mut self) -> Hash {
        Hash::from_bytes(self.array())
    }

    fn key(&mut self) -> PublicKey {
        public(self.byte() % 4)
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp::from_millis(self.int(TIME_MIN_MS, TIME_MAX_MS)).unwrap()
    }

    /// A moment at most `ms_max` after `start`.
    fn time_after(&mut self, start: Timestamp, ms_max: u64) -> Timestamp {
        let latest = (start.as_millis() + ms_max).min(TIME_MAX_MS);
        Timestamp::from_millis(self.int(start.as_millis(), latest)).unwrap()
    }

    fn amount(&mut self) -> Amount {
        Amount::from_minor(self.int(0, AMOUNT_MAX)).unwrap()
    }

    pub(crate) fn point(&mut self) -> GeoPoint {
        let lat = i32::try_from(self.small::<i64>(0, 1_800_000_000) - 900_000_000).unwrap();
        let lon = i32::try_from(self.small::<i64>(0, 3_599_999_999) - 1_800_000_000).unwrap();
        GeoPoint::from_e7(lat, lon).unwrap()
    }

    fn cell(&mut self, min: u64, max: u64) -> Cell {
        let resolution = Resolution::new(self.small(min, max)).unwrap();
        Cell::at(self.point(), resolution)
    }

    pub(crate) fn text<const N: usize>(&mut self) -> Text<N> {
        let mut text = String::new();
        for _ in 0..self.int(0, N as u64) {
            let next = self.choice(&['a', ' ', 'ß', '東', '🚕']);
            if text.len() + next.len_utf8() > N {
                break;
            }
            text.push(next);
        }
        Text::new(text).unwrap()
    }

    fn class(&mut self) -> Class {
        Class::from_code(self.small(0, u16::MAX.into()))
    }

    fn features(&mut self) -> Features {
        Features::from_bits(self.small(0, u32::MAX.into()))
    }

    fn seats(&mut self) -> Seats {
        Seats::new(self.small(1, 16)).unwrap()
    }

    pub(crate) fn addrs(&mut self) -> Vec<Address> {
        self.list(0, 3, |source| Address::new(source.bytes(64)).unwrap())
    }

    /// A certificate id and certificates, which need one.
    fn certs(&mut self) -> (Option<StatementId>, Vec<Vec<u8>>) {
        let cert_id = self.maybe(Self::id);
        let certs =
            if cert_id.is_some() && !self.slim { self.list(0, 2, |s| s.bytes(288)) } else { Vec::new() };
        (cert_id, certs)
    }

    fn ext(&mut self) -> Extensions {
        if self.slim || self.byte() % 4 != 3 {
            return Extensions::NONE;
        }
        let count = self.int(1, 8);
        let step = self.int(1, 0x1fff);
        let pairs = (0..count).map(|n| (u16::try_from(n * step).unwrap(), self.bytes(32))).collect();
        Extensions::new(pairs).unwrap()
    }

    pub(crate) fn tariff(&mut self) -> Tariff {
        let mut rate = || self.small::<u32>(0, 10_000_000);
        let (base, per_km, per_min, minimum, wait_per_min) = (rate(), rate(), rate(), rate(), rate());
        let fee_max = 5 * u64::from(base.max(minimum));
        Tariff {
            currency: Currency::from_bytes(self.choice(&[*b"USD", *b"EUR", *b"KES"])).unwrap(),
            base,
            per_km,
            per_min,
            minimum,
            wait_per_min,
            wait_free: self.ms(0, 900_000),
            cancel_fee: self.small(0, fee_max),
            cancel_free: self.ms(30_000, 600_000),
            no_show_fee: self.small(0, fee_max),
            surge: self.small(1_000, 5_000),
        }
    }

    /// Not necessarily valid on its face.
    fn prev(&mut self) -> Prev {
        Prev {
            outcome: self.choice(Outcome::ALL),
            accept_id: self.maybe(Self::id),
            proof: self.maybe(|source| source.bytes(320)),
        }
    }

    fn fare_items(&mut self) -> Vec<FareItem> {
        let mut codes = ItemCode::ALL.to_vec();
        self.list(1, 8, |source| {
            let code = codes.remove(usize::from(source.byte()) % codes.len());
            FareItem { code, amount: source.amount() }
        })
    }

    pub(crate) fn opening(&mut self) -> Opening {
        Opening { salt: self.array(), content: self.bytes(768) }
    }
}

/// Made from a [`Source`], within all bounds of P4.
pub(crate) trait Generate: Body {
    fn generate(s: &mut Source<'_>) -> Self;

    /// A statement that is not too long to be signed.
    fn signed(bytes: &[u8], signer: u8) -> Verified<Self> {
        let full = Self::generate(&mut Source::new(bytes));
        let fits = full.encode_body().len() + ENVELOPE_BYTES <= Self::KIND.bytes_max();
        let body = if fits { full } else { Self::generate(&mut Source::slim(bytes)) };
        Verified::sign(&key(signer), network(), body)
    }
}

/// Writes `Generate` for a direct statement; `$s` is the source.
macro_rules! generate {
    ($name:ident, $s:ident, { $($field:ident: $value:expr),* $(,)? }) => {
        impl Generate for $name {
            fn generate($s: &mut Source<'_>) -> Self {
                Self { to: $s.key(), issued: $s.time(), $($field: $value,)* ext: $s.ext() }
            }
        }
    };
}

impl Generate for DriverOffer {
    fn generate(s: &mut Source<'_>) -> Self {
        let slot = s.int(0, u64::MAX);
        let live = s.maybe(|s| DriverTerms {
            class: s.class(),
            seats: s.seats(),
            features: s.features(),
            tariff: s.tariff(),
            accept_mode: s.choice(AcceptMode::ALL),
        });
        let addrs = if live.is_some() { s.addrs() } else { Vec::new() };
        let (cert_id, certs) = s.certs();
        Self {
            seq: s.int(1, u64::MAX),
            issued: s.time(),
            ttl: s.ms(10_000, 120_000),
            cell: s.cell(7, 10),
            slot,
            certs: if live.is_some() { certs } else { Vec::new() },
            live,
            addrs,
            cert_id,
            pow: s.maybe(Source::array),
            head: (slot > 0).then(|| s.id()),
            ext: s.ext(),
        }
    }
}

impl Generate for RiderOffer {
    fn generate(s: &mut Source<'_>) -> Self {
        let live = s.maybe(|s| RiderTerms {
            class: s.class(),
            seats: s.seats(),
            features: s.features(),
            attempt: s.small(1, u16::MAX.into()),
            max_fare: s.maybe(|s| (s.amount(), Currency::USD)),
            peer: PeerKey::from_bytes(s.array()),
        });
        let addrs = if live.is_some() { s.addrs() } else { Vec::new() };
        let (cert_id, certs) = s.certs();
        Self {
            seq: s.int(1, u64::MAX),
            issued: s.time(),
            ttl: s.ms(10_000, 120_000),
            cell: s.cell(7, 10),
            slot: s.int(0, u64::MAX),
            certs: if live.is_some() { certs } else { Vec::new() },
            live,
            addrs,
            cert_id,
            pow: s.maybe(Source::array),
            ext: s.ext(),
        }
    }
}

impl Generate for Request {
    fn generate(s: &mut Source<'_>) -> Self {
        let (cert_id, certs) = s.certs();
        Self {
            to: s.key(),
            issued: s.time(),
            offer_id: s.id(),
            driver_slot: s.int(0, u64::MAX),
            rider_slot: s.int(0, u64::MAX),
            attempt: s.small(1, u16::MAX.into()),
            nonce: s.array(),
            pickup_cell: s.cell(7, 9),
            drop_cell: s.maybe(|s| s.cell(5, 7)),
            dist: s.small(0, 500_000),
            ride_time: s.ms(0, 43_200_000),
            party: s.seats(),
            class: s.class(),
            features: s.features(),
            max_fare: s.amount(),
            ttl: s.ms(1_000, 30_000),
            counter_id: s.maybe(Source::id),
            invite_id: s.maybe(Source::id),
            cert_id,
            certs,
            pow: s.maybe(Source::array),
            ext: s.ext(),
        }
    }
}

impl Generate for Accept {
    fn generate(s: &mut Source<'_>) -> Self {
        let issued = s.time();
        Self {
            to: s.key(),
            issued,
            request_id: s.id(),
            offer_id: s.id(),
            tariff_hash: s.hash(),
            lane: 0,
            slot: s.int(0, u64::MAX),
            prev: s.prev(),
            fare_kind: s.choice(FareKind::ALL),
            fare: s.amount(),
            eta: s.eta(),
            hold: s.ms(2_000, 20_000),
            pickup_by: s.time_after(issued, 24 * 3_600_000),
            vehicle_commit: s.hash(),
            ext: s.ext(),
        }
    }
}

generate!(Confirm, s, {
    accept_id: s.id(),
    agreement_id: s.agreement(),
    slot: s.int(0, u64::MAX),
    prev: s.prev(),
    pickup_commit: s.hash(),
    drop_commit: s.maybe(Source::hash),
    board_hash: s.hash(),
});

generate!(Ack, s, {
    agreement_id: s.agreement(),
    confirm_id: s.id(),
    lane: 0,
    slot: s.int(0, u64::MAX),
});

impl Generate for Void {
    fn generate(s: &mut Source<'_>) -> Self {
        let allowed = [
            (Outcome::HoldLapsed, false),
            (Outcome::NotChosen, false),
            (Outcome::RiderReleased, true),
            (Outcome::DriverCancelled, true),
            (Outcome::DriverCancelled, false),
            (Outcome::CompletedUnilateral, true),
            (Outcome::NoShowClaimed, true),
        ];
        let (outcome, firm) = s.choice(&allowed);
        Self {
            to: s.key(),
            issued: s.time(),
            accept_id: s.id(),
            agreement_id: firm.then(|| s.agreement()),
            lane: 0,
            slot: s.int(0, u64::MAX),
            outcome,
            reason: EndReason::from_code(s.byte()),
            fee: s.amount(),
            ref_id: s.maybe(Source::id),
            board_secret: (outcome == Outcome::CompletedUnilateral).then(|| s.array()),
            ext: s.ext(),
        }
    }
}

impl Generate for Release {
    fn generate(s: &mut Source<'_>) -> Self {
        let allowed = [
            Outcome::NotChosen,
            Outcome::CounterpartyVoid,
            Outcome::NoAck,
            Outcome::CompletedUnilateral,
            Outcome::NoShowClaimed,
            Outcome::RiderCancelled,
        ];
        let outcome = s.choice(&allowed);
        let bound = outcome != Outcome::NotChosen;
        Self {
            to: s.key(),
            issued: s.time(),
            accept_id: s.id(),
            agreement_id: bound.then(|| s.agreement()),
            slot: bound.then(|| s.int(0, u64::MAX)),
            outcome,
            reason: EndReason::from_code(s.byte()),
            fee: s.amount(),
            ref_id: s.maybe(Source::id),
            ext: s.ext(),
        }
    }
}

generate!(Reject, s, {
    about: s.id(),
    reason: RejectReason::from_code(s.byte()),
    slot: s.maybe(|s| s.int(0, u64::MAX)),
    retry: s.ms(0, 600_000),
});

generate!(Counter, s, {
    request_id: s.id(),
    n: s.small(1, 3),
    fare: s.amount(),
    eta: s.eta(),
    valid: s.ms(5_000, 60_000),
});

generate!(Status, s, {
    nonce: s.array(),
    reply_to: s.maybe(Source::array),
    entries: s.list(0, 4, |s| StatusEntry {
        agreement_id: s.agreement(),
        state: s.choice(RideState::ALL),
        own_last: s.id(),
        heard_last: s.maybe(Source::id),
    }),
});

generate!(Invite, s, {
    rider_offer_id: s.id(),
    offer_id: s.id(),
    slot: s.int(0, u64::MAX),
    eta: s.eta(),
    valid: s.ms(2_000, 10_000),
});

impl Generate for ChainAsk {
    fn generate(s: &mut Source<'_>) -> Self {
        let from_slot = s.int(0, u64::MAX - 5);
        Self {
            to: s.key(),
            issued: s.time(),
            accept_id: s.id(),
            from_slot,
            to_slot: from_slot + s.int(0, 5),
            ext: s.ext(),
        }
    }
}

generate!(EnRoute, s, { agreement_id: s.agreement(), eta: s.ms(0, u32::MAX) });
generate!(Arrived, s, { agreement_id: s.agreement(), cell: s.cell(7, 9) });
generate!(BoardAsk, s, { agreement_id: s.agreement(), code: [b'0' + s.byte() % 10; 6] });
generate!(Boarded, s, { agreement_id: s.agreement(), board_secret: s.array() });

generate!(Complete, s, {
    agreement_id: s.agreement(),
    confirm_id: s.id(),
    board_secret: s.maybe(Source::array),
    dist: s.small(0, u32::MAX.into()),
    ride_time: s.ms(0, u32::MAX),
    wait: s.ms(0, u32::MAX),
    items: s.fare_items(),
    total: s.amount(),
    amended: s.flag(),
});

generate!(Cosign, s, {
    agreement_id: s.agreement(),
    accept_id: s.id(),
    complete_id: s.id(),
    slot: s.int(0, u64::MAX),
    total: s.amount(),
});

generate!(NoShow, s, {
    agreement_id: s.agreement(),
    arrived_id: s.maybe(Source::id),
    waited: s.ms(0, u32::MAX),
    fee: s.amount(),
    heard: s.maybe(|s| s.bytes(400)),
});

generate!(Dispute, s, {
    agreement_id: s.agreement(),
    about: s.id(),
    code: s.byte(),
    text: s.text(),
});

generate!(Rating, s, {
    agreement_id: s.agreement(),
    complete_id: s.maybe(Source::id),
    stars: s.small(1, 5),
    tags: s.small(0, u32::MAX.into()),
    text: s.text(),
});

impl Generate for Evidence {
    fn generate(s: &mut Source<'_>) -> Self {
        Self {
            kind: s.choice(EvidenceKind::ALL),
            accused: s.key(),
            statements: s.list(1, 3, |s| s.bytes(1_024)),
            certs: s.list(0, 2, |s| s.bytes(288)),
            ext: s.ext(),
        }
    }
}

impl Generate for Revocation {
    fn generate(s: &mut Source<'_>) -> Self {
        let issued = s.time();
        let (first, step) = (s.int(0, 1 << 40), s.int(1, 1 << 40));
        Self {
            seq: s.int(0, u64::MAX),
            issued,
            until: s.time_after(issued, 35 * 24 * 3_600_000),
            serials: (0..s.int(0, 256)).map(|n| first + n * step).collect(),
            ext: s.ext(),
        }
    }
}

impl Generate for Credential {
    fn generate(s: &mut Source<'_>) -> Self {
        let (mode, from) = (s.choice(CredentialMode::ALL), s.time());
        Self {
            serial: s.int(0, u64::MAX),
            issued: s.time(),
            mode,
            subject: s.key(),
            roles: s.choice(&[Roles::DRIVER, Roles::RIDER, Roles::BOTH]),
            from,
            until: s.time_after(from, mode.life_ms_max()),
            classes: s.list(0, 8, Source::class),
            vehicle_commit: s.maybe(Source::hash),
            ext: s.ext(),
        }
    }
}

impl Generate for ShiftCert {
    fn generate(s: &mut Source<'_>) -> Self {
        let (role, from) = (s.choice(Role::ALL), s.time());
        let hours = if role == Role::Driver { 12 } else { 24 };
        Self {
            serial: s.int(0, u64::MAX),
            issued: s.time(),
            subject: s.key(),
            role,
            from,
            until: s.time_after(from, hours * 3_600_000),
            cred_id: s.maybe(Source::id),
            replaces: s.maybe(|s| match s.maybe(Source::id) {
                None => Replaces { cert: None, how: Replacement::Lost },
                cert => Replaces { cert, how: s.choice(Replacement::ALL) },
            }),
            ext: s.ext(),
        }
    }
}

/// Calls a function, generic over the kind, once for each of the 26 kinds. The function
/// returns a `TestCaseResult`.
macro_rules! each_kind {
    ($function:ident $(, $argument:expr)*) => {
        each_kind!(@list $function ($($argument),*)
            DriverOffer RiderOffer Request Accept Confirm Ack Void Release Reject Counter Status Invite ChainAsk
            EnRoute Arrived BoardAsk Boarded Complete Cosign NoShow Dispute Rating Evidence Revocation Credential
            ShiftCert)
    };
    (@list $function:ident $arguments:tt $($kind:ident)*) => {
        $( each_kind!(@call $function $kind $arguments); )*
    };
    (@call $function:ident $kind:ident ($($argument:expr),*)) => {
        $function::<hailmesh_wire::$kind>($($argument),*)?
    };
}

pub(crate) use each_kind;
