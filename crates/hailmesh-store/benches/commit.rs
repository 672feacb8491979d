//! What a commit of a settlement costs a SQLite journal, beside one bare sync.
//!
//! `cargo bench -p hailmesh-store --bench commit`. The four batches are those that lie on
//! the path of a settlement (W1, W2, W4, W5), each with the statements and secrets that a
//! marketplace puts into it. Between them, 4 KiB are appended to a file, and fsync.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hailmesh_market::journal::{Bound, KeyRecord, Record, RideId, Role, SecretPurpose, SecretSeed, SlotRef};
use hailmesh_store::{Options, Store, StoreUrl};
use hailmesh_types::{AgreementId, Amount, Currency, PeerKey, Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Kind, Outcome};

/// Settlements that are stored.
const RIDES: u64 = 150;
/// Numbers of keys; those from 0 on are of rides.
const TO: u64 = 1 << 40;
const PEER: u64 = TO + 1;
const SHIFT: u64 = TO + 2;
/// Bytes of a page with its header in the log.
const FRAME_BYTES: u64 = 4_096 + 24;

/// 32 bytes that follow from a number, like those of a hash.
fn digest(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut state = number;
    for part in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    bytes
}

fn key(number: u64) -> PublicKey {
    PublicKey::from(ed25519_dalek::SigningKey::from_bytes(&digest(number)).verifying_key())
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms).expect("a time")
}

struct Side {
    store: Store,
    log: std::path::PathBuf,
    file: File,
    spans: [Vec<Duration>; 4],
    pages: [Vec<u64>; 4],
    sync: Vec<Duration>,
}

impl Side {
    async fn open(folder: &Path, name: &str, identity: u64) -> Self {
        let path = folder.join(name);
        let url: StoreUrl = format!("sqlite:{}", path.display()).parse().expect("an address");
        let store = Store::open(&url, &key(identity), Options::default()).await.expect("opened");
        let file = File::create(folder.join(format!("{name}.bare"))).expect("made");
        let log = folder.join(format!("{name}-wal"));
        let spans = [const { Vec::new() }; 4];
        Self { store, log, file, spans, pages: [const { Vec::new() }; 4], sync: Vec::new() }
    }

    async fn commit(&mut self, which: usize, batch: &[Record]) {
        let length = |log: &Path| fs::metadata(log).map_or(0, |log| log.len());
        let before = length(&self.log);
        let begun = Instant::now();
        self.store.append(batch).await.expect("stored");
        self.spans[which].push(begun.elapsed());
        // Only as long as the log grows: later its beginning is written again.
        let pages = (length(&self.log) - before) / FRAME_BYTES;
        if pages > 0 {
            self.pages[which].push(pages);
        }
        let begun = Instant::now();
        self.file.write_all(&[7; 4_096]).and_then(|()| self.file.sync_all()).expect("synced");
        self.sync.push(begun.elapsed());
    }
}

struct Said {
    slot: SlotRef,
    number: u64,
}

impl Said {
    fn id(&self, kind: Kind) -> StatementId {
        StatementId::from_bytes(digest((self.number + 1_000) * 256 + u64::from(kind.code())))
    }

    fn statement(&self, kind: Kind, own: bool, bytes: usize) -> Record {
        Record::Statement { slot: self.slot, kind, id: self.id(kind), own, bytes: vec![7; bytes].into() }
    }

    fn outbox(&self, kind: Kind, bytes: usize) -> Record {
        let (to, peer) = (key(TO), PeerKey::from_bytes(*key(PEER).as_bytes()));
        Record::OutboxPut {
            slot: self.slot,
            statement: self.id(kind),
            to,
            peer,
            bytes: vec![7; bytes].into(),
            at: at(self.number),
        }
    }

    fn secret(&self, purpose: SecretPurpose, bytes: usize) -> Record {
        Record::Secret { slot: self.slot, purpose, bytes: Private(vec![7; bytes]) }
    }

    fn bound(&self, role: Role) -> Record {
        let mut ride = [0; 16];
        ride[8..].copy_from_slice(&self.number.to_be_bytes());
        Record::Bound(Bound {
            slot: self.slot,
            role,
            ride: RideId::from_bytes(ride),
            counterparty: key(TO),
            peer: PeerKey::from_bytes(*key(PEER).as_bytes()),
            request: self.id(Kind::Request),
            accept: self.id(Kind::Accept),
            agreement: AgreementId::from_bytes(*self.id(Kind::Void).as_bytes()),
            fare: Amount::from_minor(1_250).expect("an amount"),
            currency: Currency::USD,
            at: at(self.number),
            deadline: at(self.number + 5_000),
        })
    }

    fn end(&self) -> Record {
        let outcome = Outcome::Completed;
        let shown = outcome.shown_as().expect("it is shown");
        Record::Ended {
            slot: self.slot,
            outcome,
            shown,
            proof: Some(self.id(Kind::Cosign)),
            at: at(self.number + 9),
        }
    }
}

fn new_key(key: PublicKey, role: Role) -> Record {
    Record::Key(KeyRecord {
        key,
        role,
        secret: SecretSeed([7; 32]),
        cert: Some(Arc::from([7; 200])),
        created: at(0),
        until: at(90_000_000),
        replaces_lost: false,
    })
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut driver = Side::open(folder.path(), "driver.db", SHIFT + 1).await;
    let mut rider = Side::open(folder.path(), "rider.db", SHIFT + 2).await;
    let shift = key(SHIFT);
    driver.store.append(&[new_key(shift, Role::Driver)]).await.expect("stored");
    for number in 0..RIDES {
        let theirs = key(number);
        rider.store.append(&[new_key(theirs, Role::Rider)]).await.expect("stored");
        let there = Said { slot: SlotRef { key: shift, lane: 0, slot: number }, number };
        let here = Said { slot: SlotRef { key: theirs, lane: 0, slot: 0 }, number };
        let accepted = [
            there.bound(Role::Driver),
            there.statement(Kind::DriverOffer, true, 420),
            there.statement(Kind::Request, false, 252),
            there.statement(Kind::Accept, true, 321),
            there.secret(SecretPurpose::Vehicle, 90),
            there.outbox(Kind::Accept, 321),
        ];
        driver.commit(0, &accepted).await;
        let confirmed = [
            here.bound(Role::Rider),
            here.statement(Kind::DriverOffer, false, 420),
            here.statement(Kind::Request, true, 252),
            here.statement(Kind::Accept, false, 321),
            here.statement(Kind::Confirm, true, 300),
            here.secret(SecretPurpose::Pickup, 90),
            here.secret(SecretPurpose::Drop, 60),
            here.secret(SecretPurpose::Boarding, 16),
            here.secret(SecretPurpose::Code, 6),
            here.outbox(Kind::Confirm, 300),
        ];
        rider.commit(2, &confirmed).await;
        let firm = [
            Record::Firm { slot: there.slot, at: at(number) },
            there.statement(Kind::Confirm, false, 300),
            there.statement(Kind::Ack, true, 300),
            there.secret(SecretPurpose::Pickup, 90),
            Record::OutboxDone { statement: there.id(Kind::Accept) },
            there.outbox(Kind::Ack, 300),
        ];
        driver.commit(1, &firm).await;
        let heard = [
            Record::Firm { slot: here.slot, at: at(number) },
            here.statement(Kind::Ack, false, 300),
            here.secret(SecretPurpose::Vehicle, 90),
            Record::OutboxDone { statement: here.id(Kind::Confirm) },
        ];
        rider.commit(3, &heard).await;
        driver
            .store
            .append(&[Record::OutboxDone { statement: there.id(Kind::Ack) }, there.end()])
            .await
            .expect("stored");
        rider.store.append(&[here.end()]).await.expect("stored");
    }
    println!("{:34}{:>8}{:>8}{:>8}{:>12}", "milliseconds", "p50", "p90", "p99", "pages p50");
    let mut sync = [driver.sync, rider.sync].concat();
    let names = ["W1 ACCEPT, driver", "W2 ACK, driver", "W4 CONFIRM, rider", "W5 firm, rider"];
    let mut all = Vec::new();
    for (which, name) in names.into_iter().enumerate() {
        let side = if which < 2 {
            (&mut driver.spans, &mut driver.pages)
        } else {
            (&mut rider.spans, &mut rider.pages)
        };
        all.extend_from_slice(&side.0[which]);
        row(name, &mut side.0[which], Some(&mut side.1[which]));
    }
    row("all of them", &mut all, None);
    row("4 KiB appended and fsync", &mut sync, None);
}

fn row(name: &str, spans: &mut [Duration], pages: Option<&mut Vec<u64>>) {
    spans.sort_unstable();
    let ms = |share: usize| spans[(spans.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    print!("{name:34}{:8.2}{:8.2}{:8.2}", ms(50), ms(90), ms(99));
    match pages {
        Some(pages) => {
            pages.sort_unstable();
            println!("{:12}", pages.get(pages.len() / 2).copied().unwrap_or(0));
        }
        None => println!(),
    }
}
