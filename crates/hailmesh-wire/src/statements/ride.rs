//! The ride after FIRM, its end, and what is said of it: EN_ROUTE to RATING (P4.8).

use hailmesh_types::{AgreementId, Amount, Cell, Duration, PublicKey, StatementId, Text, Timestamp};

use super::{Extensions, ItemCode, body};
use crate::DecodeError;
use crate::codec::{Bytes, Cells, Codec, List, Reader, Secret, U8, Writer, record};

record! {
    /// The driver is on its way (P8.2).
    pub struct EnRoute ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// Time until arrival.
        pub eta: Duration,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct EnRoute);

record! {
    /// The driver is there (P8.3).
    pub struct Arrived ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// About where, resolution 7 to 9.
        pub cell: Cell as Cells<7, 9>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Arrived);

record! {
    /// The driver shows the code that the rider said (P8.6).
    pub struct BoardAsk ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// Six ASCII digits.
        pub code: [u8; 6] as Digits,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct BoardAsk);

/// Six ASCII digits, which no log may show.
struct Digits;

impl Codec for Digits {
    type Value = [u8; 6];

    fn write(value: &[u8; 6], out: &mut Writer) {
        out.bytes(value);
    }

    fn read(input: &mut Reader<'_>) -> Result<[u8; 6], DecodeError> {
        let code: [u8; 6] = input.bytes_of()?;
        if code.iter().all(u8::is_ascii_digit) {
            Ok(code)
        } else {
            Err(DecodeError::value("is not six digits"))
        }
    }

    fn show(_value: &[u8; 6], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<private>")
    }
}

record! {
    /// The driver shows that the parties met (P8.4).
    pub struct Boarded ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// What only the rider's node had.
        pub board_secret: [u8; 16] as Secret<16>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Boarded);

record! {
    /// A part of the final fare.
    pub struct FareItem ("P4.8") {
        /// What it is for.
        pub code: ItemCode,
        /// How much; a discount is subtracted.
        pub amount: Amount,
    }
}

record! {
    /// The driver proposes the final fare (P9.3).
    pub struct Complete ("P4.8", check_complete) {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The CONFIRM behind it.
        pub confirm_id: StatementId,
        /// The boarding secret, when the driver has it.
        pub board_secret: Option<[u8; 16]> as Option<Secret<16>>,
        /// Driven, metres.
        pub dist: u32,
        /// Time under way.
        pub ride_time: Duration,
        /// Time waited.
        pub wait: Duration,
        /// 1 to 8, each code at most once.
        pub items: Vec<FareItem> as List<FareItem, 1, 8>,
        /// The final fare.
        pub total: Amount,
        /// Whether it departs from what was agreed (P9.4).
        pub amended: bool,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Complete);

fn check_complete(complete: &Complete) -> Result<(), DecodeError> {
    let mut seen = 0_u16;
    for item in &complete.items {
        let bit = 1_u16 << item.code.code();
        if seen & bit != 0 {
            return Err(DecodeError::new("P4.11", format!("item {} occurs twice", item.code)));
        }
        seen |= bit;
    }
    Ok(())
}

record! {
    /// The rider agrees to the final fare: ends both slots (P4.8).
    pub struct Cosign ("P4.8") {
        /// The driver.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The ACCEPT behind it.
        pub accept_id: StatementId,
        /// The COMPLETE it agrees to.
        pub complete_id: StatementId,
        /// The rider's slot.
        pub slot: u64,
        /// The final fare.
        pub total: Amount,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Cosign);

record! {
    /// A claim that the other side did not come (P9.6, P9.7).
    pub struct NoShow ("P4.8") {
        /// The other side.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The ARRIVED behind it.
        pub arrived_id: Option<StatementId>,
        /// How long the claimant waited.
        pub waited: Duration,
        /// What it claims.
        pub fee: Amount,
        /// A STATUS of the other side with one entry, at most 400 bytes.
        pub heard: Option<Vec<u8>> as Option<Bytes<400>>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct NoShow);

record! {
    /// Something is wrong (P4.8).
    pub struct Dispute ("P4.8") {
        /// The other side.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The statement it is about.
        pub about: StatementId,
        /// What kind of dispute; the protocol names none yet.
        pub code: u8,
        /// In words.
        pub text: Text<256>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Dispute);

record! {
    /// An opinion of the other side (P8.12).
    pub struct Rating ("P4.8") {
        /// The other side.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The COMPLETE, if there was one.
        pub complete_id: Option<StatementId>,
        /// 1 to 5.
        pub stars: u8 as U8<1, 5>,
        /// Bits without a meaning in version 1.
        pub tags: u32,
        /// In words.
        pub text: Text<140>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Rating);
